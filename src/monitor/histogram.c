/*
 * histogram.c
 *		How large batches are, and how long commits take until they are durable.
 */
#include "postgres.h"

#include "monitor/histogram.h"
#include "utils/timestamp.h"

static const int64 bounds[FLO_HISTOGRAMS][FLO_HISTOGRAM_BOUNDS] = {
	[FLO_HISTOGRAM_BATCH] = {
		1, 2, 5, 10, 20, 50, 100, 200, 500,
		1000, 2000, 5000, 10000, 20000, 50000, 100000
	},
	/* 1, 5, 10, 25, 50, 100, 250 and 500 ms, 1 s to 1 h */
	[FLO_HISTOGRAM_LATENCY] = {
		INT64CONST(1000), INT64CONST(5000), INT64CONST(10000), INT64CONST(25000),
		INT64CONST(50000), INT64CONST(100000), INT64CONST(250000), INT64CONST(500000),
		INT64CONST(1000000), INT64CONST(2500000), INT64CONST(5000000), INT64CONST(10000000),
		INT64CONST(30000000), INT64CONST(60000000), INT64CONST(600000000), INT64CONST(3600000000)
	}
};

const int64 *
flo_histogram_bounds(FloHistogramKind kind)
{
	return bounds[kind];
}

void
flo_histogram_add(FloHistograms *histograms, FloHistogramKind kind, int64 value, int64 times)
{
	FloHistogram *h = &histograms->of[kind];
	int			bucket = 0;

	while (bucket < FLO_HISTOGRAM_BOUNDS && value > bounds[kind][bucket])
		bucket++;
	h->count[bucket] += times;
	h->sum += value * times;
}

void
flo_histograms_move(FloHistograms *to, FloHistograms *from)
{
	for (int kind = 0; kind < FLO_HISTOGRAMS; kind++)
	{
		for (int i = 0; i <= FLO_HISTOGRAM_BOUNDS; i++)
			to->of[kind].count[i] += from->of[kind].count[i];
		to->of[kind].sum += from->of[kind].sum;
	}
	memset(from, 0, sizeof(*from));
}

/* --- commits that are not durable yet -------------------------------------- */

static int
place(const FloCommits *commits, int i)
{
	return (commits->first + i) % FLO_COMMITS_KEPT;
}

void
flo_commits_note(FloCommits *commits, TimestampTz at, uint64 mark)
{
	int			i;

	if (commits->used > 0)
	{
		i = place(commits, commits->used - 1);
		if (commits->used == FLO_COMMITS_KEPT ||
			(commits->kept[i].mark == mark && at >= commits->kept[i].at &&
			 at - commits->kept[i].at < FLO_COMMITS_TOGETHER))
		{
			commits->kept[i].mark = mark;
			commits->kept[i].count++;
			return;
		}
	}
	i = place(commits, commits->used++);
	commits->kept[i].at = at;
	commits->kept[i].mark = mark;
	commits->kept[i].count = 1;
}

void
flo_commits_drop(FloCommits *commits, uint64 mark)
{
	while (commits->used > 0 &&
		   commits->kept[place(commits, commits->used - 1)].mark == mark)
		commits->used--;
}

void
flo_commits_durable(FloCommits *commits, uint64 mark, FloHistograms *histograms)
{
	TimestampTz now;

	if (commits->used == 0 || commits->kept[commits->first].mark > mark)
		return;
	now = GetCurrentTimestamp();
	while (commits->used > 0 && commits->kept[commits->first].mark <= mark)
	{
		/* the source's clock may be ahead of ours */
		flo_histogram_add(histograms, FLO_HISTOGRAM_LATENCY,
						  Max(now - commits->kept[commits->first].at, 0),
						  commits->kept[commits->first].count);
		commits->first = place(commits, 1);
		commits->used--;
	}
}
