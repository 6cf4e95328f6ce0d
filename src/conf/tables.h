/*
 * tables.h
 *		What is a table to a group: kinds, names, partitions, lookups.
 */
#ifndef FLO_TABLES_H
#define FLO_TABLES_H

#include "nodes/pg_list.h"

/* An ordinary or partitioned table? */
extern bool flo_tables_is_kind(char relkind);

/* Of the server, of pg_flo or of an extension: nobody's data to replicate */
extern bool flo_tables_of_system(Oid relation, Oid namespace);

/* The name as flo.replicators shows it: quoted and qualified */
extern char *flo_tables_name(Oid relation);

/* Raise 42809 or 22023 unless a table named by the user may be replicated */
extern void flo_tables_check_kind(Oid relation);

/* The table and, for a partitioned one, all partitions below it */
extern List *flo_tables_with_partitions(Oid relation);

/* Is the table in the publication of this name? */
extern bool flo_publication_lists(const char *publication, Oid relation);

/* Is the table in the group's publication?  (in the one for INSERT only?) */
extern bool flo_publication_has_table(const char *group, Oid relation);

#endif
