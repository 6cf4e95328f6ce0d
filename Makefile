# pg_flo: build, install and test.
#
#	make, make install			 needs a PostgreSQL 15-18 server's headers, libnats and libcurl
#	make quickstart, make test	 do all their set-up themselves, packages included
#
# Three shared modules come out of this, or four.  pg_flo is preloaded by the
# server and is mapped into every backend; pg_flo_bus holds the only code that
# talks to the NATS library, pg_flo_http the only code that talks to libcurl, and
# pg_flo_kafka, made only where librdkafka 2.0 or later is, the only code that
# talks to that.  Those are loaded by the background processes that need them
# alone, so that neither the postmaster nor an ordinary backend ever maps one of
# these libraries.

PG_CONFIG ?= pg_config

# Where this file is: here, or elsewhere (make -f .../pg_flo/Makefile)
HERE := $(dir $(lastword $(MAKEFILE_LIST)))

MODULE_big = pg_flo
EXTENSION = pg_flo
# The script that CREATE EXTENSION runs, of the parts in sql/
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(HERE)pg_flo.control)
SCRIPT = pg_flo--$(EXTVERSION).sql
SQL_PARTS = $(sort $(wildcard $(HERE)sql/[0-9]*.sql))
# The one that ALTER EXTENSION runs is made of the same parts, so that it ends with the same
UPGRADE = pg_flo--0.1--$(EXTVERSION).sql
UPGRADE_PARTS = $(HERE)sql/upgrade_0.1_head.sql $(filter-out %/00_schema.sql,$(SQL_PARTS)) $(HERE)sql/upgrade_0.1_tail.sql
DATA_built = $(SCRIPT) $(UPGRADE)
PGFILEDESC = "pg_flo - streams changes between databases through NATS JetStream"

# Each file of src/ is in pg_flo, but for those of the modules that talk to the libraries
ALONE = $(BUS_OBJS) $(HTTP_OBJS) $(KAFKA_OBJS)
OBJS = $(filter-out $(ALONE), $(patsubst $(HERE)%.c,%.o, $(sort $(wildcard $(HERE)src/*.c $(HERE)src/*/*.c))))

BUS_OBJS = src/bus/bus_nats.o src/bus/nats_options.o src/bus/greeting.o

HTTP_OBJS = src/events/http_curl.o

KAFKA_OBJS = src/events/kafka_librdkafka.o

# PGXS does not track headers; the compiler writes what each object included.
# Warnings beyond the server's own are fatal in "make lint" only, so that a
# newer compiler does not keep a user from building.  The checkout's own path is
# left out, so that the same source makes the same modules in any folder.
PG_CPPFLAGS = -I$(srcdir)/src -MMD -MP
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type \
	-ffile-prefix-map=$(CURDIR)=.
SHLIB_LINK = -lpcre2-8 -llz4
BUS_LIBS = -lnats -lpthread
HTTP_LIBS = -lcurl
KAFKA_LIBS = -lrdkafka -lpthread

# whole paths: a name alone would be looked for where the sources are
OBJ_DIRS = $(sort $(dir $(addprefix $(CURDIR)/,$(OBJS) $(ALONE))))
DEPS = $(OBJS:.o=.d) $(ALONE:.o=.d)
EXTRA_CLEAN = $(ALONE) $(BUS_MODULE) $(HTTP_MODULE) $(KAFKA_MODULE) $(DEPS) $(STAMP) $(SCRIPT).new $(UPGRADE).new tmp_check fuzz/build

# "make installcheck": pg_regress, as whoever may run a server (not root).  It
# starts one of its own, whose broker nobody can reach: what is installed is
# tested, no group of a running server is stopped and nothing is left at a broker.
# pg_regress wants its inputs in a folder called sql.
REGRESS = $(patsubst $(HERE)sql_tests/%.sql,%,$(sort $(wildcard $(HERE)sql_tests/*.sql)))
REGRESS_DIR = tmp_check/regress
REGRESS_OPTS = --inputdir=$(REGRESS_DIR) --outputdir=$(REGRESS_DIR) --encoding=UTF8 \
	--temp-instance=$(REGRESS_DIR)/instance --temp-config=$(HERE)sql_tests/regress.conf

# Bitcode is only for inlining SQL functions into JIT code, which pg_flo has no
# use for; without this a distribution's server would demand its own clang.
override with_llvm := no

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)

all:

include $(PGXS)

BUS_MODULE = pg_flo_bus$(DLSUFFIX)
HTTP_MODULE = pg_flo_http$(DLSUFFIX)
KAFKA_MODULE = pg_flo_kafka$(DLSUFFIX)

# The optional one: "make WITH_KAFKA=no" does without, and so does whoever has no such library
WITH_KAFKA := $(shell printf '\043include <librdkafka/rdkafka.h>\n\043if RD_KAFKA_VERSION < 0x02000000\n\043error old\n\043endif\n' | \
	$(CC) $(filter-out -MMD -MP,$(CPPFLAGS)) -E -x c - >/dev/null 2>&1 && echo yes || echo no)
ifeq ($(WITH_KAFKA),yes)
OPTIONAL_MODULES = $(KAFKA_MODULE)
endif

# Objects of one server's headers must not end up in another server's module
STAMP = .build_for
BUILD_FOR := $(shell $(PG_CONFIG) --version --includedir-server)
ifneq ($(BUILD_FOR),$(shell cat $(STAMP) 2>/dev/null))
$(shell echo '$(BUILD_FOR)' > $(STAMP))
endif

$(OBJS) $(ALONE): $(STAMP) Makefile | $(OBJ_DIRS)

$(OBJ_DIRS):
	$(MKDIR_P) $@

all: $(BUS_MODULE) $(HTTP_MODULE) $(OPTIONAL_MODULES)

$(BUS_MODULE): $(BUS_OBJS)
	$(CC) $(CFLAGS) $(BUS_OBJS) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@ $(BUS_LIBS)

$(HTTP_MODULE): $(HTTP_OBJS)
	$(CC) $(CFLAGS) $(HTTP_OBJS) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@ $(HTTP_LIBS)

$(KAFKA_MODULE): $(KAFKA_OBJS)
	$(CC) $(CFLAGS) $(KAFKA_OBJS) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@ $(KAFKA_LIBS)

install: install-modules install-documents
uninstall: uninstall-modules uninstall-documents

install-modules: $(BUS_MODULE) $(HTTP_MODULE) $(OPTIONAL_MODULES) installdirs
	$(INSTALL_SHLIB) $(BUS_MODULE) $(HTTP_MODULE) $(OPTIONAL_MODULES) '$(DESTDIR)$(pkglibdir)/'

uninstall-modules:
	cd '$(DESTDIR)$(pkglibdir)' && rm -f $(BUS_MODULE) $(HTTP_MODULE) $(KAFKA_MODULE)

DOCUMENTS = '$(DESTDIR)$(docdir)/$(EXTENSION)'

install-documents:
	$(MKDIR_P) $(DOCUMENTS)/doc $(DOCUMENTS)/contrib/monitoring
	$(INSTALL_DATA) $(addprefix $(HERE),README.md LICENSE CHANGELOG.md SECURITY.md) $(DOCUMENTS)/
	$(INSTALL_DATA) $(wildcard $(addprefix $(HERE)doc/,*.md *.conf *.svg *.csv)) $(DOCUMENTS)/doc/
	$(INSTALL_DATA) $(wildcard $(HERE)contrib/monitoring/*) $(DOCUMENTS)/contrib/monitoring/

uninstall-documents:
	rm -rf $(DOCUMENTS)

installcheck: regress-inputs

regress-inputs:
	rm -rf $(REGRESS_DIR)/sql $(REGRESS_DIR)/expected
	$(MKDIR_P) $(REGRESS_DIR)
	cp -R $(HERE)sql_tests $(REGRESS_DIR)/sql
	cp -R $(HERE)expected $(REGRESS_DIR)/expected

-include $(DEPS)

else

all install uninstall installcheck clean:
	@echo "pg_flo: no PGXS makefile from \"$(PG_CONFIG) --pgxs\"." >&2
	@echo "Install the server's development package (make setup does), or set PG_CONFIG." >&2
	@exit 1

endif

# The folder is a prerequisite, too: a part may have gone
$(SCRIPT): $(SQL_PARTS) $(HERE)sql Makefile
	{ echo '-- $@: made of the parts in sql/ by make; edit those' && cat $(SQL_PARTS); } >$@.new
	mv $@.new $@

$(UPGRADE): $(UPGRADE_PARTS) $(HERE)sql Makefile
	{ echo '-- $@: made of the parts in sql/ by make; edit those' && cat $(UPGRADE_PARTS); } >$@.new
	mv $@.new $@

# These bring their own set-up and call this makefile again when it is done.
export PG_CONFIG

setup:
	@.ci/setup.sh lint test

test:
	@+JOBS="$(JOBS)" AGAIN="$(AGAIN)" .ci/test.sh $(TESTS)

# the same, or some of it, under the address and undefined-behaviour sanitizers
test-sanitized:
	@+.ci/sanitized.sh $(TESTS)

# all of it, or TESTS, with other releases of the server, in bare roots: make test-versions VERSIONS="16 17 18"
test-versions:
	@+TESTS="$(TESTS)" JOBS="$(JOBS)" AGAIN="$(AGAIN)" .ci/versions.sh $(VERSIONS)

# PostgreSQL's own regression suite as a source: make test-core, or SCHEDULE=short of it
test-core:
	@+SCHEDULE="$(SCHEDULE)" TRUST="$(TRUST)" WRITE="$(WRITE)" suite/run.sh

# events to a real broker of Kafka, where Java can run one
test-kafka:
	@+.ci/kafka.sh

has-kafka:
	@[ "$(WITH_KAFKA)" = yes ]

# the sink search, with a real OpenSearch node; skipped where that cannot be started
test-search:
	@+.ci/search.sh

# the protocol, exhaustively
model:
	@doc/model/check.sh

# random kills for a while: make torture SECONDS=600, or until there were so many: make torture KILLS=1000;
# SUMMARY=FILE gets what has happened
SECONDS = 60
torture:
	@+SUMMARY="$(SUMMARY)" FLO_TEST_ENV="FLO_TORTURE_SECONDS=$(SECONDS) FLO_TORTURE_KILLS=$(KILLS) FLO_TORTURE_SEED=$(SEED) FLO_FILE_SECONDS=0" .ci/test.sh 049_torture

# machines that lose power, as root: make power SECONDS=600
power:
	@+SECONDS_TO_RUN=$(SECONDS) SEED=$(SEED) .ci/power.sh

# libFuzzer in a server, every target for a while: make fuzz SECONDS=900
fuzz:
	@+fuzz/run.sh $(SECONDS) $(TARGETS)

lint:
	@+.ci/lint.sh

# all C in PostgreSQL's own form, and typedefs.list renewed
indent:
	@.ci/indent.sh

# all that is shipped, made and tried in bare roots: make packages SUITES="bookworm trixie"
packages:
	@.ci/packages.sh $(SUITES)

# What PGXN takes: the last commit as one file
DISTVERSION = $(shell sed -n 's/^\t"version": "\(.*\)",/\1/p' META.json)
dist:
	git archive --format=zip --prefix=$(EXTENSION)-$(DISTVERSION)/ -o $(EXTENSION)-$(DISTVERSION).zip HEAD

quickstart:
	@+.ci/quickstart.sh start

quickstart-stop:
	@.ci/quickstart.sh stop

bench:
	@+bench/run.sh

.PHONY: all setup packages dist test test-sanitized test-versions test-core test-search test-kafka has-kafka torture power model fuzz lint indent quickstart quickstart-stop bench install-modules uninstall-modules \
	install-documents uninstall-documents regress-inputs
