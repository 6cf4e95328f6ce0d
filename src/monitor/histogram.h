/*
 * histogram.h
 *		How large batches are, and how long commits take until they are durable.
 *
 * The bounds never change while data is kept: rates over restarts add up.
 * Counted once per batch and once per transaction, never per row.
 */
#ifndef FLO_HISTOGRAM_H
#define FLO_HISTOGRAM_H

#include "c.h"

#include "datatype/timestamp.h"

typedef enum FloHistogramKind
{
	FLO_HISTOGRAM_BATCH,		/* changes in a batch: a transaction at a
								 * destination, a chunk at the source */
	FLO_HISTOGRAM_LATENCY,		/* microseconds from a commit at the source
								 * until it is durable */
	FLO_HISTOGRAMS
} FloHistogramKind;

/* Values above the last bound are in the last bucket */
#define FLO_HISTOGRAM_BOUNDS 16

typedef struct FloHistogram
{
	int64		count[FLO_HISTOGRAM_BOUNDS + 1];
	int64		sum;
} FloHistogram;

typedef struct FloHistograms
{
	FloHistogram of[FLO_HISTOGRAMS];
} FloHistograms;

/* FLO_HISTOGRAM_BOUNDS bounds, rising; each is the largest value of its bucket */
extern const int64 *flo_histogram_bounds(FloHistogramKind kind);

extern void flo_histogram_add(FloHistograms *histograms, FloHistogramKind kind, int64 value,
							  int64 times);

/* Add "from", which is zero afterwards */
extern void flo_histograms_move(FloHistograms *to, FloHistograms *from);

/* --- commits that are not durable yet -------------------------------------- */

/* Commits within so many microseconds are kept as one */
#define FLO_COMMITS_TOGETHER 1000
#define FLO_COMMITS_KEPT 1024

/*
 * The commit times of transactions that are on their way, in their order, under
 * a mark that never falls: the batch or the chunk they end in.  Of fixed size:
 * when it is full, later ones count as if committed with the last.
 */
typedef struct FloCommits
{
	int			first;
	int			used;
	struct
	{
		TimestampTz at;
		uint64		mark;
		int64		count;
	}			kept[FLO_COMMITS_KEPT];
} FloCommits;

extern void flo_commits_note(FloCommits *commits, TimestampTz at, uint64 mark);

/* Those of this mark will come again */
extern void flo_commits_drop(FloCommits *commits, uint64 mark);

/* Those up to this mark are durable now */
extern void flo_commits_durable(FloCommits *commits, uint64 mark, FloHistograms *histograms);

#endif
