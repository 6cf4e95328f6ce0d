# pg_flo: build, install and test.
#
#	make, make install			 needs a PostgreSQL 15-18 server's headers, libnats and libcurl
#	make quickstart, make test	 do all their set-up themselves, packages included
#
# Three shared modules come out of this.  pg_flo is preloaded by the server and
# is mapped into every backend; pg_flo_bus holds the only code that talks to
# the NATS library, pg_flo_http the only code that talks to libcurl.  Those are
# loaded by the background processes that need them alone, so that neither the
# postmaster nor an ordinary backend ever maps libnats or libcurl.

PG_CONFIG ?= pg_config

MODULE_big = pg_flo
EXTENSION = pg_flo
DATA = $(wildcard sql/pg_flo--*.sql)
PGFILEDESC = "pg_flo - streams changes between databases through NATS JetStream"

OBJS = \
	src/pg_flo.o \
	src/core/settings.o \
	src/core/arguments.o \
	src/core/as_role.o \
	src/core/names.o \
	src/core/files.o \
	src/core/roles.o \
	src/core/stop.o \
	src/core/process.o \
	src/core/lock.o \
	src/core/loop.o \
	src/core/trail.o \
	src/core/transaction.o \
	src/core/types.o \
	src/core/nextval.o \
	src/core/memory.o \
	src/monitor/shstate.o \
	src/monitor/tally.o \
	src/monitor/views.o \
	src/wire/chunk.o \
	src/wire/change.o \
	src/wire/copies.o \
	src/wire/ddl.o \
	src/wire/message.o \
	src/wire/partition.o \
	src/wire/record.o \
	src/wire/sequences.o \
	src/wire/encode.o \
	src/shape/shape.o \
	src/shape/rules.o \
	src/shape/route.o \
	src/shape/expr.o \
	src/shape/pattern.o \
	src/shape/budget.o \
	src/shape/columns.o \
	src/shape/value.o \
	src/shape/seen.o \
	src/shape/rowkey.o \
	src/shape/local.o \
	src/conf/options.o \
	src/conf/store.o \
	src/conf/shaping.o \
	src/conf/preview.o \
	src/conf/rights.o \
	src/conf/visit.o \
	src/conf/runtime.o \
	src/conf/sequence_state.o \
	src/conf/given_up.o \
	src/conf/requests.o \
	src/conf/watch.o \
	src/conf/known.o \
	src/conf/api.o \
	src/conf/choice.o \
	src/conf/publication.o \
	src/conf/identity.o \
	src/conf/before.o \
	src/conf/notes.o \
	src/conf/joining.o \
	src/conf/naming.o \
	src/conf/newtables.o \
	src/conf/commit.o \
	src/conf/guard.o \
	src/conf/waiting.o \
	src/conf/preflight.o \
	src/conf/adopt.o \
	src/conf/validate.o \
	src/conf/endpoint.o \
	src/conf/outlet.o \
	src/conf/definition.o \
	src/conf/expression.o \
	src/conf/partition.o \
	src/conf/given_names.o \
	src/bus/bus.o \
	src/bus/bucket.o \
	src/bus/records.o \
	src/bus/owner.o \
	src/bus/json.o \
	src/bus/stream.o \
	src/sink/sink.o \
	src/sink/sink_postgres.o \
	src/sink/convert.o \
	src/sink/traits.o \
	src/sink/gather.o \
	src/sink/direct.o \
	src/sink/setwise.o \
	src/sink/batch.o \
	src/sink/statement.o \
	src/sink/truncate.o \
	src/sink/parts.o \
	src/sink/relmap.o \
	src/sink/json_value.o \
	src/sink/event.o \
	src/sink/sink_file.o \
	src/sink/sink_stdout.o \
	src/sink/sink_webhook.o \
	src/sink/webhook_config.o \
	src/sink/parcel.o \
	src/sink/saved.o \
	src/sink/http.o \
	src/source/own_messages.o \
	src/source/decoder.o \
	src/source/portable.o \
	src/source/publisher.o \
	src/source/upkeep.o \
	src/source/spool.o \
	src/source/reports.o \
	src/source/ownership.o \
	src/source/session.o \
	src/source/generation.o \
	src/source/settle.o \
	src/source/ddl_capture.o \
	src/source/ddl_classes.o \
	src/source/ddl_objects.o \
	src/source/ddl_chosen.o \
	src/source/ddl_references.o \
	src/source/ddl_replay.o \
	src/source/ddl_made.o \
	src/source/ddl_filter.o \
	src/source/copy_control.o \
	src/source/copier.o \
	src/source/archive.o \
	src/source/schema_dump.o \
	src/source/copy_leader.o \
	src/source/copy_tables.o \
	src/source/copy_space.o \
	src/source/outgoing.o \
	src/source/replicator.o \
	src/dest/consumer.o \
	src/dest/encoding.o \
	src/dest/foreign_keys.o \
	src/dest/owed.o \
	src/dest/progress.o \
	src/dest/tables.o \
	src/dest/myself.o \
	src/dest/copied.o \
	src/dest/given_up.o \
	src/dest/schema_apply.o \
	src/dest/sequences.o \
	src/dest/loader.o \
	src/dest/receive.o \
	src/dest/begin.o \
	src/dest/ddl_worker.o \
	src/dest/ddl_apply.o \
	src/dest/ddl_names.o \
	src/dest/ddl_absent.o \
	src/dest/ddl_tablespaces.o \
	src/dest/ddl_columns.o \
	src/dest/ddl_present.o \
	src/dest/ddl_same.o \
	src/dest/ddl_rewrites.o \
	src/dest/ddl_trust.o \
	src/dest/ddl_targets.o \
	src/dest/ddl_reach.o \
	src/dest/ddl_known.o \
	src/dest/ddl_refers.o \
	src/dest/ddl_parts.o \
	src/dest/ddl_given.o \
	src/dest/ddl_gone.o \
	src/dest/ddl_partitions.o \
	src/dest/rows.o \
	src/dest/ddl_rights.o \
	src/conf/ddl.o \
	src/conf/message.o \
	src/dest/reshape.o \
	src/dest/apply.o \
	src/dest/report.o \
	src/dest/worker.o \
	src/worker/launcher.o \
	src/worker/bgmain.o \
	src/worker/agent.o \
	src/worker/agent_ops.o \
	src/worker/admin.o \
	src/worker/peek.o \
	src/worker/peek_op.o \
	src/worker/drop.o \
	src/worker/give_up.o \
	src/worker/recover.o

BUS_OBJS = \
	src/bus/bus_nats.o

HTTP_OBJS = \
	src/sink/http_curl.o

# PGXS does not track headers; the compiler writes what each object included.
# Warnings beyond the server's own are fatal in "make lint" only, so that a
# newer compiler does not keep a user from building.  The checkout's own path is
# left out, so that the same source makes the same modules in any folder.
PG_CPPFLAGS = -I$(srcdir)/src -MMD -MP
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type \
	-ffile-prefix-map=$(CURDIR)=.
SHLIB_LINK = -lpcre2-8
BUS_LIBS = -lnats -lpthread
HTTP_LIBS = -lcurl

DEPS = $(OBJS:.o=.d) $(BUS_OBJS:.o=.d) $(HTTP_OBJS:.o=.d)
EXTRA_CLEAN = $(BUS_OBJS) $(BUS_MODULE) $(HTTP_OBJS) $(HTTP_MODULE) $(DEPS) $(STAMP) tmp_check fuzz/build

# "make installcheck": pg_regress, as whoever may run a server (not root).  It
# starts one of its own, whose broker nobody can reach: what is installed is
# tested, no group of a running server is stopped and nothing is left at a broker.
# pg_regress wants its inputs in a folder called sql.
REGRESS = $(patsubst sql_tests/%.sql,%,$(sort $(wildcard sql_tests/*.sql)))
REGRESS_DIR = tmp_check/regress
REGRESS_OPTS = --inputdir=$(REGRESS_DIR) --outputdir=$(REGRESS_DIR) --encoding=UTF8 \
	--temp-instance=$(REGRESS_DIR)/instance --temp-config=sql_tests/regress.conf

# Bitcode is only for inlining SQL functions into JIT code, which pg_flo has no
# use for; without this a distribution's server would demand its own clang.
override with_llvm := no

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)

all:

include $(PGXS)

BUS_MODULE = pg_flo_bus$(DLSUFFIX)
HTTP_MODULE = pg_flo_http$(DLSUFFIX)

# Objects of one server's headers must not end up in another server's module
STAMP = .build_for
BUILD_FOR := $(shell $(PG_CONFIG) --version --includedir-server)
ifneq ($(BUILD_FOR),$(shell cat $(STAMP) 2>/dev/null))
$(shell echo '$(BUILD_FOR)' > $(STAMP))
endif

$(OBJS) $(BUS_OBJS) $(HTTP_OBJS): $(STAMP) Makefile

all: $(BUS_MODULE) $(HTTP_MODULE)

$(BUS_MODULE): $(BUS_OBJS)
	$(CC) $(CFLAGS) $(BUS_OBJS) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@ $(BUS_LIBS)

$(HTTP_MODULE): $(HTTP_OBJS)
	$(CC) $(CFLAGS) $(HTTP_OBJS) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@ $(HTTP_LIBS)

install: install-modules install-documents
uninstall: uninstall-modules uninstall-documents

install-modules: $(BUS_MODULE) $(HTTP_MODULE) installdirs
	$(INSTALL_SHLIB) $(BUS_MODULE) '$(DESTDIR)$(pkglibdir)/$(BUS_MODULE)'
	$(INSTALL_SHLIB) $(HTTP_MODULE) '$(DESTDIR)$(pkglibdir)/$(HTTP_MODULE)'

uninstall-modules:
	rm -f '$(DESTDIR)$(pkglibdir)/$(BUS_MODULE)' '$(DESTDIR)$(pkglibdir)/$(HTTP_MODULE)'

DOCUMENTS = '$(DESTDIR)$(docdir)/$(EXTENSION)'

install-documents:
	$(MKDIR_P) $(DOCUMENTS)/doc
	$(INSTALL_DATA) README.md LICENSE CHANGELOG.md $(DOCUMENTS)/
	$(INSTALL_DATA) $(wildcard doc/*.md doc/*.conf) $(DOCUMENTS)/doc/

uninstall-documents:
	rm -rf $(DOCUMENTS)

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

# the same, or some of it, under the address and undefined-behaviour sanitizers
test-sanitized:
	@+.ci/sanitized.sh $(TESTS)

# PostgreSQL's own regression suite as a source: make test-core, or SCHEDULE=short of it
test-core:
	@+SCHEDULE="$(SCHEDULE)" TRUST="$(TRUST)" WRITE="$(WRITE)" suite/run.sh

# the protocol, exhaustively
model:
	@doc/model/check.sh

# random kills for a while: make torture SECONDS=600
SECONDS = 60
torture:
	@+FLO_TEST_ENV="FLO_TORTURE_SECONDS=$(SECONDS) FLO_TORTURE_SEED=$(SEED)" .ci/test.sh 049_torture

# libFuzzer in a server, every target for a while: make fuzz SECONDS=900
fuzz:
	@+fuzz/run.sh $(SECONDS) $(TARGETS)

lint:
	@+.ci/lint.sh

quickstart:
	@+.ci/quickstart.sh start

quickstart-stop:
	@.ci/quickstart.sh stop

bench:
	@+bench/run.sh

.PHONY: all setup test test-sanitized test-core torture model fuzz lint quickstart quickstart-stop bench install-modules uninstall-modules \
	install-documents uninstall-documents regress-inputs
