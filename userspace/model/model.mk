# SPDX-License-Identifier: MIT
# model.mk - what a program needs to compile against and link libsluice-model.a
#
# Include it after O is set:
#	$(CC) $(CFLAGS) $(MODEL_CFLAGS) prog.c $(MODEL_LIB) $(MODEL_LIBS)

MODEL_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
MODEL_LIB := $(O)/userspace/libsluice-model.a

# The serial build of OpenBLAS, linked statically: the shared one may be any variant that the
# alternatives system points at, and blas.c has to choose the kernels before it starts.
MODEL_MULTIARCH := $(shell $(CC) -print-multiarch)
MODEL_BLAS_INC ?= /usr/include/$(MODEL_MULTIARCH)/openblas-serial
MODEL_BLAS_LIB ?= /usr/lib/$(MODEL_MULTIARCH)/openblas-serial/libopenblas.a

MODEL_CFLAGS := -I$(MODEL_DIR)
MODEL_LIBS := $(MODEL_BLAS_LIB) $(shell pkg-config --libs libpcre2-8 libcrypto) -lm
