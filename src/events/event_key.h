/*
 * event_key.h
 *		The key of a changed row, and the partition that follows from it.
 *
 * The key is what the replica identity names: the primary key, or an index.  With
 * REPLICA IDENTITY FULL the source does not say what the key is, so there is none.
 */
#ifndef FLO_EVENT_KEY_H
#define FLO_EVENT_KEY_H

#include "events/escape.h"
#include "events/event.h"

/* Longest tokens of a key, in subjects and buckets */
#define FLO_EVENT_KEY_MAX 1024

extern bool flo_event_has_key(const FloRelation *relation);

/*
 * Which row's key is meant: that of an INSERT is the new one, that of a DELETE the
 * old one, and an UPDATE has both.
 */
static inline bool
flo_event_key_is_old(const FloChange *change)
{
	return change->op == FLO_OP_DELETE;
}

/* An UPDATE that makes another row of it, by the key */
extern bool flo_event_changes_key(const FloChange *change);

/* {"id":1}, in the order of the columns; {} without a key */
extern void flo_event_key_append(FloEventWriter *writer, StringInfo out, const FloChange *change,
								 bool old);

/*
 * The values, each as one token, joined by a character that is in none.  Longer
 * than "limit": a hash.  Without a key that of the empty text.
 */
extern void flo_event_key_token(FloEventWriter *writer, StringInfo out, const FloChange *change,
								bool old, FloEscape escape, char separator, int limit);

/*
 * How rows are dealt out to partitions: option partition_by as it is kept, "key",
 * "table", "schema", or quoted names of columns.  Throws 22023.
 */
typedef struct FloPartitioning FloPartitioning;

extern FloPartitioning *flo_partitioning_parse(const char *text, int partitions);

/*
 * What rows of one partition have in common, as a JSON object: {"id":1} or
 * {"Schema":"public","Table":"orders"}.  False, and nothing appended, where the
 * partition would be -1, and for rows of a table without a key.
 */
extern bool flo_partitioning_append(FloEventWriter *writer, const FloPartitioning *partitioning,
									StringInfo out, const FloChange *change,
									const FloRelation *relation, bool old);

/*
 * The partition of a row, from 0: see doc/events.md.  -1 is every partition: a
 * TRUNCATE or a statement, unless all of the table's rows are in one.  "relation" is
 * the table in question.  Throws 55000 when a column is named that is no part of
 * the key, which would put the changes of one row into several partitions.
 */
extern int	flo_event_partition(FloEventWriter *writer, FloPartitioning *partitioning,
								const FloChange *change, const FloRelation *relation, bool old);

#endif
