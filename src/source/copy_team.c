/*
 * copy_team.c
 *		The processes that read the tables of a copy or a backfill.
 *
 * The leader of either holds snapshot and locks until all rows are in the stream, so
 * a copier that fails can be replaced and reads its range again.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "bus/stream.h"
#include "core/compat.h"
#include "core/settings.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "source/copy_team.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Pages of a range: 64 MB */
#define RANGE_PAGES (64 * 1024 * 1024 / BLCKSZ)

/* Chunks of the copy; see the publisher's for why */
#define COPY_CHUNK_SIZE (256 * 1024)
#define PAYLOAD_ALLOWANCE 512

/* A copier that fails this often in a row ends the copy */
#define MAX_FAILURES 10

/* The lowest max_bytes of the stream that is tried where the account wants one */
#define SMALLEST_LIMIT (4 * 1024 * 1024)

/* --- planning ------------------------------------------------------------ */

/*
 * Its size is taken after the lock; the last range is open, for rows that the snapshot
 * sees beyond what the file was then.
 */
uint32
flo_team_plan(FloCopyTeam *t, const FloCopyRelation *what, bool read, uint32 range)
{
	Relation	rel;
	BlockNumber pages;
	double		stored;
	double		rows;

	if (what->published != what->relation)
		relation_close(flo_copy_lock_relation(what->published, InvalidOid, what->published_shape),
					   NoLock);
	rel = flo_copy_lock_relation(what->relation, what->filenode, what->shape);
	pages = RelationGetNumberOfBlocks(rel);
	stored = (double) pages + flo_copy_toast_pages(rel);
	rows = flo_copy_estimate_rows(rel, pages);
	relation_close(rel, NoLock);
	for (BlockNumber first = 0; read && (first == 0 || first < pages); first += RANGE_PAGES)
	{
		FloCopyTask *task = palloc0(sizeof(FloCopyTask));

		task->relation = what->relation;
		task->published = what->published;
		task->filenode = what->filenode;
		task->table_pages = pages;
		task->first = first;
		task->end = first + RANGE_PAGES < pages ? first + RANGE_PAGES : InvalidBlockNumber;
		task->range = range++;
		task->pages = pages > first ? Min(pages - first, RANGE_PAGES) : 0;
		if (pages > 0)
		{
			task->bytes = (uint64) (stored * task->pages / pages * BLCKSZ);
			task->rows_estimated = (uint64) (rows * task->pages / pages);
		}
		t->ranges = lappend(t->ranges, task);
		t->bytes += task->bytes;
	}
	return range;
}

/* Largest table first, each in the order of its pages */
static int
compare_work(const ListCell *a, const ListCell *b)
{
	const FloCopyTask *x = lfirst(a);
	const FloCopyTask *y = lfirst(b);

	if (x->table_pages != y->table_pages)
		return x->table_pages > y->table_pages ? -1 : 1;
	if (x->relation != y->relation)
		return x->relation < y->relation ? -1 : 1;
	return x->first < y->first ? -1 : (x->first > y->first ? 1 : 0);
}

void
flo_team_share(FloCopyTeam *t, const char *group, const FloChunkHeader *identity, uint32 attempt,
			   int64 backfill)
{
	Size		size = offsetof(FloCopyPlan,
								tasks) + sizeof(FloCopyTask) * Max(list_length(t->ranges), 1);
	FloCopyPlan *plan;
	ListCell   *cell;

	list_sort(t->ranges, compare_work);
	t->segment = dsm_create(size, 0);
	dsm_pin_mapping(t->segment);
	plan = dsm_segment_address(t->segment);
	memset(plan, 0, size);
	SpinLockInit(&plan->mutex);
	strlcpy(plan->snapshot, ExportSnapshot(GetActiveSnapshot()), sizeof(plan->snapshot));
	strlcpy(plan->group, group, sizeof(plan->group));
	strlcpy(plan->subject, t->subject, sizeof(plan->subject));
	plan->identity = *identity;
	plan->identity.system_identifier = GetSystemIdentifier();
	plan->identity.timeline = GetWALInsertionTimeLine();
	plan->identity.encoding = (uint16) GetDatabaseEncoding();
	plan->identity.from = plan->identity.upto = identity->position;
	plan->attempt = attempt;
	plan->backfill = backfill;
	plan->methods = t->methods;
	plan->squeeze = t->squeeze && t->spec->options.compression == FLO_CHUNKS_LZ4;
	plan->chunk_size = (uint32) Min((int64) COPY_CHUNK_SIZE,
									flo_bus_max_payload(t->bus) - PAYLOAD_ALLOWANCE);
	flo_space_init(&plan->space);
	plan->ntasks = list_length(t->ranges);
	foreach(cell, t->ranges)
		plan->tasks[foreach_current_index(cell)] = *(FloCopyTask *) lfirst(cell);
	t->plan = plan;
	t->size = Max(1, Min(t->spec->copy_workers, plan->ntasks));
	/* rows of a backfill go to no index, and most may be left out */
	plan->spread = backfill != 0 ? t->size : 1;
	t->copiers = palloc0(sizeof(BackgroundWorkerHandle *) * t->size);
	t->limit = -1;
}

/* --- copiers ------------------------------------------------------------- */

static bool
work_left(FloCopyTeam *t)
{
	bool		left = false;

	SpinLockAcquire(&t->plan->mutex);
	for (int i = 0; i < t->plan->ntasks && !left; i++)
		left = t->plan->tasks[i].state == FLO_TASK_FREE;
	SpinLockRelease(&t->plan->mutex);
	return left;
}

/* A copier has ended: what it had taken and not finished is free again */
static void
copier_ended(FloCopyTeam *t, int number, uint64 limit)
{
	bool		unfinished = false;
	bool		shaped = false;

	pfree(t->copiers[number]);
	t->copiers[number] = NULL;
	SpinLockAcquire(&t->plan->mutex);
	for (int i = 0; i < t->plan->ntasks; i++)
	{
		FloCopyTask *task = &t->plan->tasks[i];

		if (task->state == FLO_TASK_TAKEN && task->copier == number)
		{
			task->state = FLO_TASK_FREE;
			unfinished = true;
			shaped |= task->shaped;
			t->halves += task->in_pieces;
			task->in_pieces = 0;
			task->rows = 0;
			task->pages_done = 0;
		}
	}
	SpinLockRelease(&t->plan->mutex);
	flo_space_copier_ended(&t->plan->space, number);
	if (shaped)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("reading a table to which rules or a condition apply that may come out otherwise was broken off: it begins again: %s",
						flo_helper_last_error(t->args->slot)),
				 errdetail("Rules may make something else of its rows at another time.")));
	if (limit != 0 && t->halves > limit / 4)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("halves of large rows lie in the copy stream, and there may be no room for the whole: the copy of tables that are not finished begins again")));
	if (unfinished && ++t->failures > MAX_FAILURES)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("copying was given up after %d failures: %s", t->failures,
						flo_helper_last_error(t->args->slot))));
}

void
flo_team_look_after(FloCopyTeam *t, int64 limit, bool start)
{
	int			running = 0;
	int			refused = 0;

	for (int i = 0; i < t->size; i++)
	{
		FloProcessArgs args = *t->args;

		if (t->copiers[i] != NULL && flo_process_ended(t->copiers[i]))
			copier_ended(t, i, (uint64) limit);
		if (t->copiers[i] == NULL && start && work_left(t))
		{
			args.helper = FLO_HELPER_COPIER;
			args.segment = dsm_segment_handle(t->segment);
			args.number = i;
			if (!flo_process_start(&args, psprintf("pg_flo copier %s %d", t->plan->group, i),
								   &t->copiers[i]))
			{
				t->copiers[i] = NULL;
				refused++;
			}
		}
		if (t->copiers[i] != NULL)
			running++;
	}
	t->running = running;
	t->refused = refused;
}

/* --- the stream ---------------------------------------------------------- */

void
flo_team_make_stream(FloCopyTeam *t, int64 limit)
{
	FloStreamConfig config = {0};
	FloAccountInfo account;
	FloStreamInfo info;

	flo_account_info(t->bus, &account);
	config.name = t->stream;
	config.subject = psprintf("%s.>", t->subject);
	config.max_bytes = limit;
	if (account.max_stream_bytes > 0)
		config.max_bytes = Min(config.max_bytes, account.max_stream_bytes);
	config.replicas = (int) (t->spec->options.stream_replicas > 0 ?
							 t->spec->options.stream_replicas : flo_stream_replicas);
	config.description = t->description;
	if (flo_stream_info(t->bus, t->stream, &info))
	{
		/* copiers keep to a lower one themselves, and it has what they sent */
		config.max_bytes = info.max_bytes > 0 ? Max(config.max_bytes, info.max_bytes) : 0;
		flo_stream_update(t->bus, &config, &info);
		return;
	}

	/*
	 * the broker sets aside what a limit promises: where it has less, copiers
	 * keep to theirs, and take what there is
	 */
	while (!flo_stream_try_create(t->bus, &config))
	{
		if (!account.wants_max_bytes)
			config.max_bytes = 0;
		else if (config.max_bytes > SMALLEST_LIMIT)
			config.max_bytes /= 2;
		if (config.max_bytes <= SMALLEST_LIMIT)
		{
			flo_stream_create(t->bus, &config);
			return;
		}
	}
}

void
flo_team_look_at_space(FloCopyTeam *t, int64 limit)
{
	FloCopySpace *space = &t->plan->space;
	uint64		before = flo_space_before_look(space);
	FloAccountInfo account;
	FloStreamInfo info;

	if (t->limit != limit)
	{
		if (t->limit >= 0)
			flo_team_make_stream(t, limit);
		t->limit = limit;
		/* less one chunk, for what the broker counts otherwise than we do */
		flo_space_set_limit(space, limit > COPY_CHUNK_SIZE ? limit - COPY_CHUNK_SIZE : 0);
	}
	flo_account_info(t->bus, &account);
	if (flo_stream_info(t->bus, t->stream, &info))
		flo_space_looked(space, before, info.bytes, flo_account_room(&account, &info, false));
}

/* When everything that was in the stream a while ago is loaded, loaders wait for copiers */
void
flo_team_widen(FloCopyTeam *t, uint64 loaded)
{
	FloStreamInfo info;

	if (t->plan->spread >= t->size || !flo_stream_info(t->bus, t->stream, &info))
		return;
	if (t->stored_before > 0 && loaded >= t->stored_before && loaded != PG_UINT64_MAX)
	{
		SpinLockAcquire(&t->plan->mutex);
		t->plan->spread++;
		SpinLockRelease(&t->plan->mutex);
	}
	t->stored_before = t->stored;
	t->stored = info.last_seq;
}
