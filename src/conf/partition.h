/*
 * partition.h
 *		Partitions as the catalogs describe them: which rows are in one, and which
 *		one holds the same rows as one elsewhere.
 *
 * Both serve whoever has to find the partition that a statement of the source
 * is about: names prove nothing.  Texts of values depend on settings: in a
 * process of pg_flo they are as they must be; in a session of a user the caller
 * sets for the moment those that dates, numbers, bytes and names are shown by.
 */
#ifndef FLO_CONF_PARTITION_H
#define FLO_CONF_PARTITION_H

#include "wire/partition.h"

/*
 * The partition, as seen from an ancestor.  Reads catalogs only, so it also
 * serves logical decoding; a level that is partitioned by an expression is
 * locked in ACCESS SHARE mode while that is put into words.
 */
extern FloPartition *flo_partition_describe(Oid partition, Oid ancestor);

/*
 * The topmost table that a table is a partition of; invalid when there is none,
 * as while a partition waits for its DETACH CONCURRENTLY to be finalized.
 */
extern Oid	flo_partition_root(Oid relation);

/*
 * The partition of "root" that provably holds the same rows as the other one
 * does below its own root; invalid when there is none, or it cannot be proved.
 * It may be partitioned itself.  "relation" is the source's root as a route has
 * made it, NULL where columns have the same names.
 */
extern Oid	flo_partition_find(Oid root, const FloPartition *partition,
							   const FloRelation *relation);

/*
 * How far a partition's path is the same here: the table whose partitions
 * would be those of level "level" (0: the root), or invalid.
 */
extern Oid	flo_partition_parent(Oid root, const FloPartition *partition, int level,
								 const FloRelation *relation);

/* Are these two the same: by what the table is partitioned, and the level's keys? */
extern bool flo_partition_same_keys(Oid table, const FloPartitionLevel *level,
									const FloRelation *relation);

/* What hashes depend on in this database */
extern const char *flo_partition_hashes(void);

/* What comparing for a strategy depends on, as in FloPartitionKey; NULL: on what cannot be named */
extern const char *flo_partition_collation(Oid collation, FloPartitionStrategy strategy);

/* A type's qualified name, as in FloPartitionKey; of a domain, that of the type below it */
extern char *flo_partition_type(Oid type);

#endif
