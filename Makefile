# Builds weir: the libraries, the perf programs and the tests, all under $(BUILD).
# Files are picked up by wildcard: a new engine/x.c or tests/test_x.c needs no line here.
#
#   BUILD=dir    where everything goes (build)
#   SAN=1        with the address and undefined-behaviour sanitizers, under $(BUILD)/san
#   V=1          show the commands
#   PCRE2=no     without regular expressions, also where the library for them is found
#   OPENSSL=no   without libweir_tls, also where the library for it is found
#   CC=clang     another compiler
#   DESTDIR, PREFIX, LIBDIR, INCLUDEDIR    for install

BUILD   ?= build
ifeq ($(origin CC),default)
CC      := gcc
endif
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
CFLAGS  ?= -O3 -g
SEEDS   ?= 20000
SECONDS ?= 60

VERSION := $(shell awk '/define WEIR_VERSION_/ { v = v dot $$3; dot = "." } END { print v }' include/weir.h)
MAJOR   := $(firstword $(subst ., ,$(VERSION)))
SONAME  := libweir.so.$(MAJOR)
TLS_SONAME := libweir_tls.so.$(MAJOR)

# ---- Flags ------------------------------------------------------------------------------------

ifdef SAN
B       := $(BUILD)/san
HARDEN  := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DWR_CHECK \
           $(if $(FUZZ),-fsanitize=fuzzer-no-link)
else
B       := $(BUILD)
HARDEN  := -fstack-protector-strong $(if $(filter -O0,$(CFLAGS)),,-D_FORTIFY_SOURCE=2)
# gcc optimises the library as one, into one plain object: who links it need not know.
LTO     := $(if $(findstring gcc,$(CC)),-flto -flto-partition=one)
endif

WARN    := -Wall -Wextra -Wconversion -Wshadow -Werror
ALL_CFLAGS  = -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARN) $(HARDEN) $(FOUND) -pthread -fPIC -fvisibility=hidden
ALL_LDFLAGS = $(CFLAGS) $(HARDEN) -pthread $(LDFLAGS)
URING   := $(shell pkg-config --libs liburing 2>/dev/null || echo -luring)
ifndef PCRE2
PCRE2   := $(shell pkg-config --exists libpcre2-8 2>/dev/null && echo yes || echo no)
endif
# What the library is linked with, by pkg-config's names.
DEPENDS := liburing $(if $(filter no,$(PCRE2)),,libpcre2-8)
NEEDS   := $(shell pkg-config --libs $(DEPENDS) 2>/dev/null || echo $(DEPENDS:lib%=-l%))
FOUND   := $(shell pkg-config --cflags $(DEPENDS) 2>/dev/null) $(if $(filter no,$(PCRE2)),-DWR_NO_PCRE2)

ifndef OPENSSL
OPENSSL := $(shell pkg-config --exists 'openssl >= 3' 2>/dev/null && echo yes || echo no)
endif
TLS     := $(filter-out no,$(OPENSSL))
TLS_NEEDS := $(if $(TLS),$(shell pkg-config --libs openssl 2>/dev/null || echo -lssl -lcrypto))
FOUND   += $(if $(TLS),$(shell pkg-config --cflags openssl 2>/dev/null),-DWR_NO_TLS)

# What each part may include: perf and its users see the public headers only.
INC                = -Iinclude
$(B)/obj/engine/%: INC = -Iinclude -Iengine -Icompat
$(B)/obj/compat/%: INC = -Iinclude -Iengine -Icompat
$(B)/obj/tests/%:  INC = -Iinclude -Iengine -Icompat -Itests -Iperf
$(B)/obj/engine/%: OPT = $(LTO)
$(B)/obj/compat/%: OPT = $(LTO)

# ---- Files ------------------------------------------------------------------------------------

objects  = $(patsubst %.c,$(B)/obj/%.o,$(wildcard $(1)))
programs = $(patsubst $(1)/%.c,$(B)/$(1)/%,$(2))

TLS_OBJ    := $(call objects,engine/tls*.c)
TLS_PARTS  := $(if $(LTO),$(B)/obj/weir_tls.o,$(TLS_OBJ))
LIB_OBJ    := $(filter-out $(TLS_OBJ),$(call objects,engine/*.c compat/*.c))
LIB_PARTS  := $(if $(LTO),$(B)/obj/weir.o,$(LIB_OBJ))
# Where there is no TLS, nothing that is about it is built.
WITHOUT    := $(if $(TLS),,tests/helpers_tls% tests/test_tls%)
HELPER_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(filter-out $(WITHOUT),$(wildcard tests/helpers*.c)))
# Files whose names have one word more are parts: perf/x_y.c of programs there, but for the servers peer_*, and
# tests/plain_x_y.c of plain_x.
PARTS := $(filter-out perf/peer_%.c $(if $(TLS),perf/common_no_tls.c),$(wildcard perf/*_*.c))
# Servers on other libraries: `make peers` alone builds them.
RIVALS := $(addprefix $(B)/perf/peer_,libuv libevent asio asio_uring)
PERF  := $(filter-out $(RIVALS),$(call programs,perf,$(filter-out $(PARTS) perf/common_no_tls.c \
             $(if $(TLS),,perf/peer_tls.c),$(wildcard perf/*.c))))
PEERS := $(filter $(B)/perf/peer_%,$(PERF))
TESTS := $(call programs,tests,$(filter-out $(WITHOUT),$(wildcard tests/test_*.c)))
PLAIN := $(call programs,tests,$(filter-out $(wildcard tests/plain_*_*.c),$(wildcard tests/plain_*.c)))
FUZZERS := $(call programs,tests,$(filter-out %/seeds.c,$(wildcard tests/fuzz/*.c)))
LIBS  := $(B)/libweir.a $(B)/$(SONAME) $(B)/libweir.so
TLS_LIBS := $(if $(TLS),$(B)/libweir_tls.a $(B)/$(TLS_SONAME) $(B)/libweir_tls.so)
# What programs are linked with, besides their own; libssl only if they use it.
WEIR_A   := $(filter %.a,$(TLS_LIBS)) $(B)/libweir.a
WEIR_NEEDS = -Wl,--as-needed $(TLS_NEEDS) $(NEEDS) -lm
PEER_NEEDS = -Wl,--as-needed $(TLS_NEEDS) $(URING)

ifndef V
Q   := @
say  = @printf '  %-4s %s\n' '$(1)' '$(patsubst $(B)/%,%,$@)'
endif

# ---- Targets ----------------------------------------------------------------------------------

all: $(LIBS) $(TLS_LIBS) $(PERF)            # the libraries and the perf programs (the default)

deps:                           # install what build and tests need (Debian and Ubuntu)
	@tests/deps

deps-bench: deps                # and what is compared with: libraries, servers, valgrind
	@tests/deps bench

check: deps                     # everything that can fail: tidy, all tests, again under sanitizers
	@BUILD='$(BUILD)' CC='$(CC)' MAKE='$(MAKE)' tests/run

demo: deps                      # weir and its rivals, measured here and now
	$(Q)+$(MAKE) --no-print-directory all
	@perf/demo $(BUILD)

peers: $(PEERS) $(RIVALS)       # servers to compare with, those on libraries too that are here

bench: all peers                # all beside all, into perf/RESULTS.md (15 minutes); or some, shown: ROWS='http tls'
	@perf/bench '$(BUILD)' $(ROWS)

bench-quick: all peers          # most of it in two minutes, shown
	@perf/bench '$(BUILD)' --quick $(ROWS)

sim: $(B)/tests/plain_sim       # the simulator over SEEDS=20000 seeds, or one: SEED=7
	@$< $(if $(SEED),$(SEED) 1,1 $(SEEDS))

fuzz:                           # fuzzers of what peers may send, each for SECONDS=60; with clang
	$(Q)+$(MAKE) --no-print-directory CC=clang BUILD='$(BUILD)/fuzz' SAN=1 FUZZ=1 fuzzers
	@tests/fuzz/run '$(BUILD)/fuzz/san/tests/fuzz' '$(BUILD)/corpus' $(SECONDS)

fuzzers: $(FUZZERS) $(B)/tests/fuzz/seeds

tests: $(TESTS) $(PLAIN)        # build the test programs, run none

tidy:                           # the rules of the house: includes, sizes, names, documentation
	@tests/tidy

install: $(LIBS) $(TLS_LIBS)    # into $(DESTDIR)$(PREFIX): headers, libraries, pkg-config file
	install -d $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 644 $(filter-out $(if $(TLS),,%/weir_tls.h),$(wildcard include/*.h)) $(DESTDIR)$(INCLUDEDIR)
	$(call install_library,weir,$(DEPENDS))
	$(if $(TLS),$(call install_library,weir_tls,openssl))

# install_library NAME DEPENDS
define install_library
	install -m 644 $(B)/lib$(1).a $(DESTDIR)$(LIBDIR)
	install -m 755 $(B)/lib$(1).so.$(MAJOR) $(DESTDIR)$(LIBDIR)/lib$(1).so.$(VERSION)
	ln -sf lib$(1).so.$(VERSION) $(DESTDIR)$(LIBDIR)/lib$(1).so.$(MAJOR)
	ln -sf lib$(1).so.$(MAJOR) $(DESTDIR)$(LIBDIR)/lib$(1).so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	    -e 's|@VERSION@|$(VERSION)|' -e 's|@DEPENDS@|$(2)|' include/$(subst _,-,$(1)).pc.in \
	    > $(DESTDIR)$(LIBDIR)/pkgconfig/$(subst _,-,$(1)).pc

endef

clean:                          # remove $(BUILD)
	rm -rf $(BUILD)

help:                           # this list
	@sed -n 's/^\([a-z-]*\):[^#]*# \(.*\)/make \1\t\2/p' Makefile | expand -t 16

# ---- Rules ------------------------------------------------------------------------------------

# Objects depend on the flags they were built with.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS) $(LTO) $(LDFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS) $(LTO) $(LDFLAGS)' > $@

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(OPT) $(INC) $(CPPFLAGS) -MMD -MP -c -o $@ $<

# The archive is made anew, so that it never keeps the object of a file that is gone.
%.a:
	@mkdir -p $(@D)
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(B)/obj/weir.o: $(LIB_OBJ)
$(B)/obj/weir_tls.o: $(TLS_OBJ)
$(B)/obj/weir.o $(B)/obj/weir_tls.o:
	$(call say,LD)
	$(Q)$(CC) -r -flinker-output=nolto-rel $(CFLAGS) $(HARDEN) -fPIC $(LTO) -o $@ $^
	$(Q)objcopy -w -G 'weir_*' -G 'wr_*' $@

$(B)/libweir.a: $(LIB_PARTS)
$(B)/libweir_tls.a: $(TLS_PARTS)
$(B)/obj/helpers.a:  $(HELPER_OBJ)
$(B)/obj/parts.a:    $(call objects,$(PARTS))

# shared MAP NEEDS
define shared
	$(call say,LD)
	$(Q)$(CC) -shared -Wl,-soname,$(@F) -Wl,--version-script=$(1) $(DEFS) $(ALL_LDFLAGS) \
	    -o $@ $(filter %.o %.so,$^) $(2)
endef

$(B)/$(SONAME): $(LIB_PARTS) include/weir.map
	$(call shared,include/weir.map,$(NEEDS))

$(B)/$(TLS_SONAME): $(TLS_PARTS) $(B)/libweir.so include/weir_tls.map
	$(call shared,include/weir_tls.map,$(TLS_NEEDS))

# Sanitizers leave their symbols to the program.
DEFS := $(if $(SAN),,-Wl,-z,defs)

$(B)/libweir.so: $(B)/$(SONAME)
$(B)/libweir_tls.so: $(B)/$(TLS_SONAME)
$(B)/libweir.so $(B)/libweir_tls.so:
	$(Q)ln -sf $(<F) $@

define link
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1)
endef

# A peer is a server to compare with, written by hand: it does without weir.
$(PEERS): $(B)/perf/%: $(B)/obj/perf/%.o $(B)/obj/parts.a
	$(call link,$(PEER_NEEDS))

# rival HEADER FLAGS: a server on another library. Where that is missing, the server is named and left out.
define rival
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)if ! echo '#include <$(1)>' | $(CC) -E -x c++ - >/dev/null 2>&1; then \
	    echo '       $(@F): there is no $(1); make deps-bench'; rm -f $@; \
	else $(CC) $(CFLAGS) $(HARDEN) -Wall -Wextra -Werror -pthread -o $@ $^ $(2) -Wl,--as-needed -lstdc++; fi
endef

$(B)/perf/peer_libuv: perf/peer_libuv.c $(B)/obj/parts.a
	$(call rival,uv.h,-luv)

$(B)/perf/peer_libevent: perf/peer_libevent.c $(B)/obj/parts.a
	$(call rival,event2/bufferevent.h,-levent)

# A header of those Boosts that know io_uring.
ASIO := boost/asio/detail/io_uring_service.hpp

$(B)/perf/peer_asio: perf/peer_asio.cc $(B)/obj/parts.a
	$(call rival,$(ASIO))

$(B)/perf/peer_asio_uring: perf/peer_asio.cc $(B)/obj/parts.a
	$(call rival,$(ASIO),-DBOOST_ASIO_HAS_IO_URING -DBOOST_ASIO_DISABLE_EPOLL $(URING))

$(filter-out $(PEERS),$(PERF)): $(B)/perf/%: $(B)/obj/perf/%.o $(B)/obj/parts.a $(WEIR_A)
	$(call link,$(WEIR_NEEDS))

$(TESTS): $(B)/tests/%: $(B)/obj/tests/%.o $(B)/obj/helpers.a $(B)/obj/parts.a $(WEIR_A)
	$(call link,-lcriterion $(WEIR_NEEDS))

$(foreach program,$(PLAIN),\
    $(eval $(program): $(call objects,$(patsubst $(B)/%,%_*.c,$(program)))))

$(B)/tests/plain_layer: $(patsubst %,$(B)/obj/tests/helpers_%.o,layer $(if $(TLS),stream tls tls_cert))
$(B)/tests/plain_layer: WEIR_NEEDS += $(if $(TLS),-lcriterion)

$(PLAIN): $(B)/tests/%: $(B)/obj/tests/%.o $(WEIR_A)
	$(call link,$(WEIR_NEEDS))

$(FUZZERS) $(B)/tests/fuzz/seeds: $(B)/tests/%: $(B)/obj/tests/%.o $(B)/obj/helpers.a $(WEIR_A)
	$(call link,$(if $(filter %/seeds,$@),,-fsanitize=fuzzer) -lcriterion $(WEIR_NEEDS))

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all deps deps-bench check demo peers bench bench-quick sim fuzz fuzzers tests tidy install clean help FORCE
