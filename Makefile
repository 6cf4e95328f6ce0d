# pg_flo: build, install and test.
#
#	make, make install			 needs a PostgreSQL 15-18 server's headers and libnats
#	make quickstart, make test	 do all their set-up themselves, packages included
#
# Two shared modules come out of this.  pg_flo is preloaded by the server and
# is mapped into every backend; pg_flo_bus holds the only code that talks to
# the NATS library and is loaded by pg_flo's background processes alone, so
# that neither the postmaster nor an ordinary backend ever maps libnats.

PG_CONFIG ?= pg_config

MODULE_big = pg_flo
EXTENSION = pg_flo
DATA = $(wildcard sql/pg_flo--*.sql)
PGFILEDESC = "pg_flo - streams changes between databases through NATS JetStream"

OBJS = \
	src/pg_flo.o \
	src/core/settings.o \
	src/core/names.o \
	src/core/process.o \
	src/core/loop.o \
	src/core/trail.o \
	src/monitor/shstate.o \
	src/monitor/views.o \
	src/wire/chunk.o \
	src/wire/change.o \
	src/wire/ddl.o \
	src/conf/options.o \
	src/conf/store.o \
	src/conf/visit.o \
	src/conf/runtime.o \
	src/conf/watch.o \
	src/conf/api.o \
	src/conf/publication.o \
	src/conf/identity.o \
	src/conf/newtables.o \
	src/conf/commit.o \
	src/conf/guard.o \
	src/conf/waiting.o \
	src/conf/preflight.o \
	src/conf/validate.o \
	src/bus/bus.o \
	src/bus/bucket.o \
	src/bus/json.o \
	src/bus/stream.o \
	src/sink/sink.o \
	src/sink/sink_postgres.o \
	src/sink/convert.o \
	src/sink/statement.o \
	src/sink/truncate.o \
	src/sink/relmap.o \
	src/source/decoder.o \
	src/source/publisher.o \
	src/source/session.o \
	src/source/settle.o \
	src/source/ddl_capture.o \
	src/source/ddl_objects.o \
	src/source/ddl_replay.o \
	src/source/ddl_filter.o \
	src/source/copy_control.o \
	src/source/copier.o \
	src/source/copy_leader.o \
	src/source/replicator.o \
	src/dest/consumer.o \
	src/dest/progress.o \
	src/dest/copied.o \
	src/dest/loader.o \
	src/dest/ddl_apply.o \
	src/dest/ddl_names.o \
	src/dest/ddl_present.o \
	src/dest/ddl_same.o \
	src/dest/ddl_rewrites.o \
	src/conf/ddl.o \
	src/dest/worker.o \
	src/worker/launcher.o \
	src/worker/bgmain.o \
	src/worker/agent.o \
	src/worker/agent_ops.o \
	src/worker/admin.o \
	src/worker/drop.o

BUS_OBJS = \
	src/bus/bus_nats.o

# PGXS does not track headers; the compiler writes what each object included.
# Warnings beyond the server's own are fatal in "make lint" only, so that a
# newer compiler does not keep a user from building.
PG_CPPFLAGS = -I$(srcdir)/src -MMD -MP
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type
BUS_LIBS = -lnats

DEPS = $(OBJS:.o=.d) $(BUS_OBJS:.o=.d)
EXTRA_CLEAN = $(BUS_OBJS) $(BUS_MODULE) $(DEPS) $(STAMP) tmp_check

# "make installcheck": pg_regress against a running server that has pg_flo in
# shared_preload_libraries.  pg_regress wants its inputs in a folder called sql.
REGRESS = $(patsubst sql_tests/%.sql,%,$(sort $(wildcard sql_tests/*.sql)))
REGRESS_DIR = tmp_check/regress
REGRESS_OPTS = --inputdir=$(REGRESS_DIR) --outputdir=$(REGRESS_DIR) --encoding=UTF8

# Bitcode is only for inlining SQL functions into JIT code, which pg_flo has no
# use for; without this a distribution's server would demand its own clang.
override with_llvm := no

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)

all:

include $(PGXS)

BUS_MODULE = pg_flo_bus$(DLSUFFIX)

# Objects of one server's headers must not end up in another server's module
STAMP = .build_for
BUILD_FOR := $(shell $(PG_CONFIG) --version --includedir-server)
ifneq ($(BUILD_FOR),$(shell cat $(STAMP) 2>/dev/null))
$(shell echo '$(BUILD_FOR)' > $(STAMP))
endif

$(OBJS) $(BUS_OBJS): $(STAMP) Makefile

all: $(BUS_MODULE)

$(BUS_MODULE): $(BUS_OBJS)
	$(CC) $(CFLAGS) $(BUS_OBJS) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@ $(BUS_LIBS)

install: install-bus
uninstall: uninstall-bus

install-bus: $(BUS_MODULE) installdirs
	$(INSTALL_SHLIB) $(BUS_MODULE) '$(DESTDIR)$(pkglibdir)/$(BUS_MODULE)'

uninstall-bus:
	rm -f '$(DESTDIR)$(pkglibdir)/$(BUS_MODULE)'

installcheck: regress-inputs

regress-inputs:
	rm -rf $(REGRESS_DIR)/sql $(REGRESS_DIR)/expected
	$(MKDIR_P) $(REGRESS_DIR)
	cp -R sql_tests $(REGRESS_DIR)/sql
	cp -R expected $(REGRESS_DIR)/expected

-include $(DEPS)

else

all install uninstall installcheck clean:
	@echo "pg_flo: no PGXS makefile from \"$(PG_CONFIG) --pgxs\"." >&2
	@echo "Install the server's development package (make setup does), or set PG_CONFIG." >&2
	@exit 1

endif

# These bring their own set-up and call this makefile again when it is done.
export PG_CONFIG

setup:
	@.ci/setup.sh lint test

test:
	@+.ci/test.sh $(TESTS)

lint:
	@+.ci/lint.sh

quickstart:
	@+.ci/quickstart.sh start

quickstart-stop:
	@.ci/quickstart.sh stop

bench:
	@+bench/compare.sh

.PHONY: all setup test lint quickstart quickstart-stop bench install-bus uninstall-bus regress-inputs
