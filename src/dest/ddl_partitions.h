/*
 * ddl_partitions.h
 *		Partitions that the source drops or detaches.
 */
#ifndef FLO_DDL_PARTITIONS_H
#define FLO_DDL_PARTITIONS_H

#include "wire/ddl.h"

/*
 * Would the source's statement about one of its partitions take other rows
 * here, or leave its rows?  "root" and "named" are the tables of the two names
 * here, 0 = none.  Returns why a person has to decide; NULL when it takes the
 * same rows, or when the table is no partition here any more.
 */
extern char *flo_ddl_partition_differs(const FloDdlObject *object, Oid root, Oid named);

#endif
