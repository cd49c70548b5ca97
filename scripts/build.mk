# SPDX-License-Identifier: MIT
# build.mk: what every user-space Makefile shares. Included as
#	ROOT := ../..            (relative to the Makefile's own directory)
#	include $(ROOT)/scripts/build.mk
# Objects go to $(O) mirroring the source tree; headers made by the build to $(O)/include.

ROOT		:= $(abspath $(ROOT))
O		?= $(ROOT)/build
O		:= $(abspath $(O))
CC		?= gcc
AR		?= ar
WERROR		?= 1
# SANITIZE=address,undefined or SANITIZE=thread makes a build of its own: give it its own O=.
# What is found ends the program, so that a test that does not look at the output fails too.
SANITIZE	?=
SANITIZE_FLAGS	:= $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all)

CFLAGS		?= -O2 -g
override CFLAGS	+= -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Wmissing-prototypes \
		   -Wstrict-prototypes -Wpointer-arith -Wshadow -fno-strict-aliasing -fPIC -pthread \
		   $(if $(filter 1,$(WERROR)),-Werror) \
		   $(SANITIZE_FLAGS) $(if $(SANITIZE),-fno-omit-frame-pointer)
override LDFLAGS += -pthread $(SANITIZE_FLAGS)
CPPFLAGS	+= -D_GNU_SOURCE -I$(O)/include -I$(ROOT)/lib/include

LIBSLUICE	:= $(O)/lib/libsluice.a
LIBSLUICE_LIBS	:= $(LIBSLUICE) $(shell pkg-config --libs liburing 2>/dev/null)

# The ABI header reaches user space as <sluice/uapi.h>, here and when installed.
UAPI		:= $(O)/include/sluice/uapi.h
$(UAPI): $(ROOT)/kmod/uapi/sluice.h
	@mkdir -p $(@D)
	cp $< $@

# $(call objects,DIR,SOURCES): objects of the sources of directory DIR
objects		= $(patsubst %.c,$(O)/$(1)/%.o,$(2))

$(O)/%.o: $(ROOT)/%.c | $(UAPI)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The first rule above is not what a plain make means.
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
