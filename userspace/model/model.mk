# SPDX-License-Identifier: MIT
# model.mk - what a program needs to compile against and link libsluice-model.a
#
# Include it after O is set:
#	$(CC) $(CFLAGS) $(MODEL_CFLAGS) prog.c $(MODEL_LIB) $(MODEL_LIBS)

MODEL_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
MODEL_LIB := $(O)/userspace/libsluice-model.a

# The serial build of OpenBLAS by its own directory: the plain name may be any variant that the
# alternatives system points at, and one with threads is slow where system calls are dear.
MODEL_MULTIARCH := $(shell $(CC) -print-multiarch)
MODEL_BLAS_INC ?= /usr/include/$(MODEL_MULTIARCH)/openblas-serial
MODEL_BLAS_DIR ?= /usr/lib/$(MODEL_MULTIARCH)/openblas-serial

MODEL_CFLAGS := -I$(MODEL_DIR)
MODEL_LIBS := -L$(MODEL_BLAS_DIR) -Wl,-rpath,$(MODEL_BLAS_DIR) -lopenblas \
	$(shell pkg-config --libs libpcre2-8 libcrypto) -lm
