/*
 * copy_schema_build.c
 *		Builds the indexes that come with a copy, by several processes.
 *
 * A table's indexes are built when its rows are in, while others are still loaded; the
 * largest table first, since nothing else can be done beside the last one.  The rest is
 * built when all rows are in.
 *
 * What is to be done stands in flo.copied_objects, each is noted as done in the
 * transaction that makes it, and advisory locks keep processes apart: one that is killed
 * leaves nothing, and whoever comes next goes on.  What cannot be built, or has to wait
 * for a person, the worker itself meets in the end, and says so.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/sql.h"
#include "core/error_context.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/transaction.h"
#include "dest/copy_schema_build.h"
#include "dest/copy_schema_object.h"
#include "dest/worker_config.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "utils/memutils.h"

/* ms between two looks whether somebody else is done with a table */
#define CLAIM_PAUSE 100

#define OF_TABLES "of_table IS NOT NULL AND NOT rest"

/* Of tables whose rows are in */
#define READY \
	OF_TABLES " AND of_table IN (SELECT t.relation FROM flo.copied_tables t WHERE t.group_name = $1 AND t.worker_name = $2" \
	" AND t.chunks > 0 AND (t.finished_at IS NOT NULL OR t.chunks <= (SELECT count(*) FROM flo.copied_chunks c" \
	" WHERE c.group_name = $1 AND c.worker_name = $2 AND c.relation = t.relation AND c.attempt = t.attempt)))"

#define LARGEST_FIRST \
	"(SELECT p.bytes FROM flo.planned_tables p WHERE p.group_name = $1 AND p.worker_name = $2 AND p.relation = of_table)" \
	" DESC NULLS LAST, of_table, ordinal"

static List *
indexes_to_build(const FloWorkerSpec *spec, bool early)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *objects;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	objects = flo_schema_objects(spec, FLO_SCHEMA_AFTER, early ? READY : OF_TABLES, LARGEST_FIRST);
	flo_transaction_end(context);
	return objects;
}

/* --- a builder ----------------------------------------------------------- */

/* Does it leave its table to others that do the same? */
static bool
shares_table(const FloSchemaObject *object)
{
	return strncmp(object->command, "CREATE INDEX", strlen("CREATE INDEX")) == 0 ||
		strncmp(object->command, "CREATE UNIQUE INDEX", strlen("CREATE UNIQUE INDEX")) == 0;
}

/*
 * Is the object still to be done, and nobody at it?  Several indexes of a table can be
 * built at once, but a primary key needs it alone.  The locks are held to the end of
 * the transaction.  *taken: somebody is at it, or in the way.
 */
static bool
claim(const FloWorkerSpec *spec, const FloSchemaObject *object, bool *taken)
{
	FloSqlSession sql;
	bool		locked;
	bool		claimed;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_SELECT,
				shares_table(object) ?
				"SELECT pg_try_advisory_xact_lock_shared(hashtext($1 || '/' || $2), $3::oid::int)"
				" AND pg_try_advisory_xact_lock(hashtext($1 || '/' || $2 || '/'), $4::int)" :
				"SELECT pg_try_advisory_xact_lock(hashtext($1 || '/' || $2), $3::oid::int) AND $4 IS NOT NULL",
				4, spec->group, spec->worker, object->table, object->ordinal);
	locked = flo_sql_true(0, 1);
	*taken |= !locked;
	claimed = locked &&
		flo_sql_run(SPI_OK_SELECT,
					"SELECT FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2"
					" AND ordinal = $3::int AND action IS NULL", 3, spec->group, spec->worker,
					object->ordinal) == 1;
	flo_sql_end(&sql);
	return claimed;
}

typedef struct Builder
{
	FloWorkerSpec *spec;
	MemoryContext context;
	List	   *left;			/* ordinals of objects that the worker itself
								 * is to come upon */
} Builder;

/* False when it could not be; the transaction has to be given up then */
static bool
build(Builder *b, FloSchemaObject *object)
{
	ErrorData  *error;
	MemoryContext old;

	flo_injection_point("build.before");
	if (flo_schema_create(b->spec, object, &error) == NULL && error == NULL)
		return true;
	old = MemoryContextSwitchTo(b->context);
	b->left = lappend_int(b->left, atoi(object->ordinal));
	MemoryContextSwitchTo(old);
	return false;
}

/* Builds what others are not at; true when it did something, or others may have */
static bool
build_some(Builder *b, List *objects)
{
	MemoryContext context = CurrentMemoryContext;
	bool		any = false;
	bool		taken = false;
	ListCell   *cell;

	foreach(cell, objects)
	{
		FloSchemaObject *object = lfirst(cell);
		bool		claimed;

		flo_check_interrupts();
		if (list_member_int(b->left, atoi(object->ordinal)))
			continue;
		(void) flo_transaction_begin();
		MemoryContextSwitchTo(context);
		claimed = claim(b->spec, object, &taken);
		any |= claimed;
		if (!claimed || build(b, object))
			flo_transaction_end(context);
		else
		{
			AbortCurrentTransaction();
			MemoryContextSwitchTo(context);
			flo_error_context_clear();
		}
	}
	if (!any && taken)
	{
		flo_wait_means(FLO_WAIT_APPLY);
		(void) flo_wait(PGINVALID_SOCKET, false, CLAIM_PAUSE);
	}
	return any || taken;
}

void
flo_schema_builder_run(const FloProcessArgs *args)
{
	Builder		b = {.context = CurrentMemoryContext};
	MemoryContext round = AllocSetContextCreate(CurrentMemoryContext, "pg_flo round",
												ALLOCSET_DEFAULT_SIZES);
	char	   *group;
	char	   *worker;
	bool		go_on = true;

	flo_helper_names(args->slot, &group, &worker);
	b.spec = flo_my_spec(group, worker);
	while (b.spec != NULL && go_on)
	{
		MemoryContextSwitchTo(round);
		flo_helper_check(args->slot, args->incarnation);
		go_on = build_some(&b, indexes_to_build(b.spec, args->early));
		MemoryContextSwitchTo(b.context);
		MemoryContextReset(round);
	}
}

/* --- for the worker ------------------------------------------------------ */

/* How many are at work */
static int
running(FloBuilders *builders)
{
	int			count = 0;

	for (int i = 0; i < builders->size; i++)
	{
		if (builders->handles[i] != NULL && flo_process_ended(builders->handles[i]))
		{
			pfree(builders->handles[i]);
			builders->handles[i] = NULL;
		}
		count += builders->handles[i] != NULL;
	}
	return count;
}

static void
start(const FloWorkerSpec *spec, FloBuilders *builders, int wanted, bool early)
{
	MemoryContext old;

	if (builders->handles == NULL)
	{
		builders->size = (int) spec->options.loaders;
		builders->handles = MemoryContextAllocZero(GetMemoryChunkContext(builders),
												   sizeof(BackgroundWorkerHandle *) *
												   builders->size);
	}
	old = MemoryContextSwitchTo(GetMemoryChunkContext(builders->handles));
	wanted -= running(builders);
	for (int i = 0; i < builders->size && wanted > 0; i++)
	{
		FloProcessArgs args = {0};

		if (builders->handles[i] != NULL)
			continue;
		wanted--;
		args.database = MyDatabaseId;
		args.slot = flo_me->slot;
		args.incarnation = flo_me->incarnation;
		args.helper = FLO_HELPER_BUILDER;
		args.number = i;
		args.early = early;
		if (!flo_process_start(&args, psprintf("pg_flo builder %s %s %d", spec->group, spec->worker,
											   i), &builders->handles[i]))
			builders->handles[i] = NULL;
	}
	MemoryContextSwitchTo(old);
}

/* Indexes that are built, and those that can be while rows are loaded */
static void
count_indexes(const FloWorkerSpec *spec, int64 *done, int64 *ready)
{
	FloSqlSession sql;
	MemoryContext context = flo_transaction_begin();

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_SELECT, "SELECT count(action), count(*) FILTER (WHERE action IS NULL AND " READY ")"
				" FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2 AND section = '" FLO_SCHEMA_AFTER "' AND " OF_TABLES,
				2, spec->group, spec->worker);
	*done = strtoi64(flo_sql_text(&sql, 0, 1), NULL, 10);
	*ready = strtoi64(flo_sql_text(&sql, 0, 2), NULL, 10);
	flo_sql_end(&sql);
	flo_transaction_end(context);
}

/*
 * Half as many as loaders, which are at work as well.  When all have ended and left
 * something undone since they were started, they will not do better.
 */
void
flo_schema_build_early(const FloWorkerSpec *spec, FloBuilders *builders)
{
	int64		done;
	int64		ready;
	int			wanted;
	int			before;

	if (builders->stuck)
		return;
	before = running(builders);
	count_indexes(spec, &done, &ready);
	wanted = (int) Min(Max(spec->options.loaders / 2, 1), ready);
	if (before >= wanted)
		return;
	if (before == 0 && builders->begun && builders->done == done)
	{
		builders->stuck = true;
		return;
	}
	builders->begun = true;
	builders->done = done;
	start(spec, builders, wanted, true);
}

/* What one process can do as well is left to the worker itself */
void
flo_schema_build(const FloWorkerSpec *spec, FloBuilders *builders)
{
	List	   *objects = indexes_to_build(spec, false);
	int			wanted = (int) Min(spec->options.loaders, list_length(objects));
	int			count;

	if (wanted > 1)
		start(spec, builders, wanted, false);
	while ((count = running(builders)) > 0)
	{
		flo_state_set(FLO_STATE_COPYING, "building indexes: %d left of %d, %d processes",
					  list_length(indexes_to_build(spec, false)), list_length(objects), count);
		flo_wait_means(FLO_WAIT_APPLY);
		(void) flo_wait(PGINVALID_SOCKET, false, 500);
	}
}
