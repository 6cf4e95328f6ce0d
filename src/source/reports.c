/*
 * reports.c
 *		What the workers of a group say of themselves, as it comes in.
 *
 * A report is a key of the state bucket, hence a message on a subject: who
 * subscribes to that is told when it is said, also when the broker has no room to
 * store it.  What is stored is for those who begin.
 */
#include "postgres.h"

#include "bus/records.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/text.h"
#include "monitor/state.h"
#include "source/cutover_heard.h"
#include "source/definitions.h"
#include "source/reports.h"
#include "utils/builtins.h"

/* Longest wait for workers to report, from the first of them on, ms */
#define REPORTS_TIMEOUT 5000

/* A stream with less room than this may be what is full: it takes no chunk more */
#define ROOM_NEEDED ((int64) 1024 * 1024)

void
flo_reports_load(FloBus *bus, const char *bucket, FloRetention *retention)
{
	ListCell   *cell;

	flo_bus_watch(bus, flo_bucket_subject(bucket));
	foreach(cell, flo_bucket_keys(bus, bucket, FLO_REPORT_PREFIX))
	{
		char	   *key = lfirst(cell);
		char	   *value = flo_bucket_get(bus, bucket, key);

		if (value != NULL)
			flo_retention_report(retention, key, value);
	}
	foreach(cell, flo_bucket_keys(bus, bucket, FLO_CUTOVER_PREFIX))
		flo_cutover_hear(lfirst(cell), flo_bucket_get(bus, bucket, lfirst(cell)));
}

/* A key that the source has written for good */
static bool
is_kept_key(const char *key)
{
	return strcmp(key, FLO_GENERATION_KEY) == 0 || strcmp(key, FLO_COPY_KEY) == 0 ||
		strcmp(key, FLO_ATTEMPT_KEY) == 0 ||
		strncmp(key, FLO_COPY_TABLE_PREFIX, strlen(FLO_COPY_TABLE_PREFIX)) == 0;
}

bool
flo_reports_take(FloBus *bus, const char *bucket, FloRetention *retention)
{
	FloBusUpdate update;
	bool		removed = false;

	while (flo_bus_next_update(bus, &update))
	{
		/* $KV.<bucket>.<key> */
		const char *key = update.subject + strlen("$KV.") + strlen(bucket) + 1;

		flo_retention_report(retention, key, update.len > 0 ? update.data : NULL);
		flo_cutover_hear(key, update.len > 0 ? update.data : NULL);
		removed |= update.len == 0 && is_kept_key(key);
		if (update.len == 0)
			flo_definitions_removed(key);
		pfree(update.subject);
		pfree(update.data);
	}
	return removed;
}

void
flo_reports_forget_stale(FloBus *bus, const char *bucket, FloRetention *retention, uint64 last_seq)
{
	ListCell   *cell;

	foreach(cell, flo_retention_reports(retention))
	{
		FloWorkerReport *report = lfirst(cell);

		if (report->seq <= last_seq)
			continue;
		report->seq = 0;
		flo_bucket_put(bus, bucket, flo_report_key(report->consumer),
					   flo_report_format(report), true);
	}
}

bool
flo_reports_await(FloBus *bus, const char *bucket, FloRetention *retention,
				  const FloStreamInfo *info, bool found, XLogRecPtr published,
				  XLogRecPtr confirmed_flush)
{
	bool		is_new = flo_retention_reports(retention) == NIL && (!found || info->consumers > 0);
	uint64		reloads = flo_reload_count;
	FloClock	heard = 0;

	while (published < confirmed_flush)
	{
		bool		any = flo_retention_reports(retention) != NIL;
		bool		all = flo_retention_all_have(retention, confirmed_flush);
		bool		patient;

		if (any && heard == 0)
			heard = flo_clock();
		patient = heard == 0 || !flo_clock_passed(heard, REPORTS_TIMEOUT);
		if (all ? !is_new || !patient : !patient || (!any && !is_new))
			break;
		if (is_new && !any && !found)
			flo_state_set(FLO_STATE_WAITING, "for workers to report: the broker holds nothing of this group, and transactions up to %X/%X are gone from this server",
						  LSN_FORMAT_ARGS(confirmed_flush));
		else
			flo_state_set(FLO_STATE_WAITING, "for workers to report whether they have what the broker does not: %X/%X to %X/%X",
						  LSN_FORMAT_ARGS(published), LSN_FORMAT_ARGS(confirmed_flush));
		flo_bus_wait(bus, 200);
		flo_reports_take(bus, bucket, retention);
		if (reloads != flo_reload_count)
			return false;
	}
	return true;
}

bool
flo_reports_stream_is_full(const FloStreamInfo *info)
{
	return info->max_bytes > 0 &&
		info->bytes + Min(ROOM_NEEDED, info->max_bytes / 4) > info->max_bytes;
}

char *
flo_reports_describe_full(FloBus *bus, const char *stream, FloRetention *retention,
						  const char *words, bool chunk)
{
	const char *slowest = flo_retention_slowest(retention);
	FloStreamInfo info;
	FloAccountInfo account;

	if (flo_stream_info(bus, stream, &info) && flo_reports_stream_is_full(&info))
		return psprintf("stream full: %s of %s, %s", flo_text_of_size(info.bytes),
						flo_text_of_size(info.max_bytes), slowest);
	flo_account_info(bus, &account);
	if (!chunk && account.max_streams > 0 && account.streams >= account.max_streams)
		return psprintf("broker full: " INT64_FORMAT " of " INT64_FORMAT " streams that the account may have (%s)",
						account.streams, account.max_streams, words);
	if (account.max_bytes > 0)
		return psprintf("broker full: %s of %s that the account may keep, %s (%s)",
						flo_text_of_size(account.bytes),
						flo_text_of_size(account.max_bytes), slowest, words);

	/* the server does not tell its own limit: it is what there is now */
	return psprintf("broker full: %s of %s that the server takes, %s (%s)",
					flo_text_of_size(account.bytes),
					flo_text_of_size(account.bytes), slowest, words);
}
