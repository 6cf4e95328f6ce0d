/*
 * metrics.c
 *		What flo.metrics() and flo.overview need beside flo.status: histograms,
 *		rates, and text that fits on a line.
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/function.h"
#include "catalog/pg_type.h"
#include "core/names.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define HISTOGRAM_COLUMNS 10

FLO_FUNCTION(flo_histograms);
FLO_FUNCTION(flo_rate_of);
FLO_FUNCTION(flo_one_line);

/* --- histograms ---------------------------------------------------------- */

/* Bounds, how many values lie at or below each, the sum and the number of all */
static void
put_histogram(Datum *values, const FloHistogram *histogram, const int64 *bounds, double unit)
{
	Datum		limits[FLO_HISTOGRAM_BOUNDS];
	Datum		counts[FLO_HISTOGRAM_BOUNDS];
	int64		count = 0;

	for (int i = 0; i < FLO_HISTOGRAM_BOUNDS; i++)
	{
		count += histogram->count[i];
		limits[i] = Float8GetDatum(bounds[i] / unit);
		counts[i] = Int64GetDatum(count);
	}
	count += histogram->count[FLO_HISTOGRAM_BOUNDS];
	values[0] = PointerGetDatum(construct_array(limits, FLO_HISTOGRAM_BOUNDS, FLOAT8OID,
												sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = PointerGetDatum(construct_array(counts, FLO_HISTOGRAM_BOUNDS, INT8OID,
												sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[2] = Float8GetDatum(histogram->sum / unit);
	values[3] = Int64GetDatum(count);
}

Datum
flo_histograms(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	FloMember  *members;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	if (!flo_preloaded())
		return (Datum) 0;
	members = flo_members_here(&count);
	for (int i = 0; i < count; i++)
	{
		const FloHistogram *of = members[i].histograms.of;
		Datum		values[HISTOGRAM_COLUMNS];
		bool		nulls[HISTOGRAM_COLUMNS] = {0};

		values[0] = CStringGetTextDatum(members[i].group);
		values[1] = CStringGetTextDatum(members[i].member);
		put_histogram(values + 2, &of[FLO_HISTOGRAM_BATCH],
					  flo_histogram_bounds(FLO_HISTOGRAM_BATCH), 1);
		put_histogram(values + 6, &of[FLO_HISTOGRAM_LATENCY],
					  flo_histogram_bounds(FLO_HISTOGRAM_LATENCY), USECS_PER_SEC);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* --- rates --------------------------------------------------------------- */

/* What this session has seen of a member's count */
typedef struct Sample
{
	struct
	{
		char		group[FLO_NAME_BUF];
		char		member[FLO_NAME_BUF];
	}			key;
	TimestampTz since;			/* when it began to count */
	TimestampTz at;				/* the statement that looked last */
	int64		count;
	TimestampTz before_at;		/* and the one before; 0 = there was none */
	int64		before;
} Sample;

static Sample *
sample_of(const char *group, const char *member)
{
	static HTAB *samples = NULL;
	Sample		wanted = {0};
	Sample	   *sample;
	bool		found;

	if (samples == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(wanted.key);
		control.entrysize = sizeof(Sample);
		control.hcxt = TopMemoryContext;
		samples = hash_create("pg_flo counts seen", 16, &control,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	strlcpy(wanted.key.group, group, sizeof(wanted.key.group));
	strlcpy(wanted.key.member, member, sizeof(wanted.key.member));
	sample = hash_search(samples, &wanted.key, HASH_ENTER, &found);
	if (!found)
		*sample = wanted;
	return sample;
}

/*
 * By how much a count has risen a second since this session's statement before;
 * NULL at the first look, and after the count has begun anew
 */
Datum
flo_rate_of(PG_FUNCTION_ARGS)
{
	char	   *group = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *member = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		count = PG_GETARG_INT64(2);
	TimestampTz since = PG_GETARG_TIMESTAMPTZ(3);
	TimestampTz now = GetCurrentStatementStartTimestamp();
	Sample	   *sample;

	if (!flo_name_is_valid(group) || !flo_name_is_valid(member))
		PG_RETURN_NULL();
	sample = sample_of(group, member);
	if (sample->since != since || count < sample->count || now < sample->at)
	{
		sample->since = since;
		sample->before_at = 0;
		sample->at = now;
		sample->count = count;
	}
	else if (sample->at != now)
	{
		sample->before_at = sample->at;
		sample->before = sample->count;
		sample->at = now;
		sample->count = count;
	}
	if (sample->before_at == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8((sample->count - sample->before) * (double) USECS_PER_SEC /
					 (sample->at - sample->before_at));
}

/* --- text that fits ------------------------------------------------------ */

/* What stands for the rest; the client may not have the character that is made for it */
static const char *
ellipsis(void)
{
	return GetDatabaseEncoding() == PG_UTF8 && pg_get_client_encoding() == PG_UTF8 ?
		"\xe2\x80\xa6" : "...";
}

/*
 * The text as one line of at most so many columns of a terminal: characters are
 * none, one or two columns wide, those that control it are spaces
 */
Datum
flo_one_line(PG_FUNCTION_ARGS)
{
	const char *p = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			width = PG_GETARG_INT32(1);
	const char *rest = ellipsis();
	int			room = width - (rest[1] == '.' ? 3 : 1);
	StringInfoData line;
	int			used = 0;
	int			cut = 0;

	initStringInfo(&line);
	while (*p != '\0')
	{
		int			len = pg_mblen(p);
		int			columns = pg_dsplen(p);

		if (columns < 0)
			appendStringInfoChar(&line, ' ');
		else
			appendBinaryStringInfo(&line, p, len);
		used += columns < 0 ? 1 : columns;
		if (used <= room)
			cut = line.len;
		if (used > width)
		{
			line.data[line.len = cut] = '\0';
			appendStringInfoString(&line, rest);
			break;
		}
		p += len;
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(line.data, line.len));
}
