/*
 * compat_statement.h
 *		Statements of the grammar, and publications.
 *
 * See compat.h.
 */
#ifndef FLO_COMPAT_STATEMENT_H
#define FLO_COMPAT_STATEMENT_H

#include "catalog/pg_publication.h"
#include "core/compat.h"
#include "nodes/parsenodes.h"

/* CLUSTER is one of the commands of REPACK since 19, which has statements of its own */
#if PG_VERSION_NUM >= 190000
typedef RepackStmt FloClusterStmt;
#define FLO_CLUSTER_STATEMENT RepackStmt
#define T_FloClusterStmt T_RepackStmt
#define FLO_STATEMENTS_SINCE_19(ROW) ROW(WaitStmt, "WAIT FOR", NOT_REPLICATED, SESSION),
#else
typedef ClusterStmt FloClusterStmt;
#define FLO_CLUSTER_STATEMENT ClusterStmt
#define T_FloClusterStmt T_ClusterStmt
#define FLO_STATEMENTS_SINCE_19(ROW)
#endif

/* The table of CLUSTER; NULL when there is none, or for REPACK */
static inline RangeVar *
flo_compat_clustered(const FloClusterStmt *statement)
{
#if PG_VERSION_NUM >= 190000
	return statement->command == REPACK_COMMAND_CLUSTER && statement->relation != NULL ?
		statement->relation->relation : NULL;
#else
	return statement->relation;
#endif
}

/* The publications that list a table, as such and not by its schema */
static inline List *
flo_compat_publications_of(Oid relation)
{
#if PG_VERSION_NUM >= 190000
	return GetRelationIncludedPublications(relation);
#else
	return GetRelationPublications(relation);
#endif
}

/* The tables that a publication lists, and not their partitions */
static inline List *
flo_compat_published(Oid publication)
{
#if PG_VERSION_NUM >= 190000
	return GetIncludedPublicationRelations(publication, PUBLICATION_PART_ROOT);
#else
	return GetPublicationRelations(publication, PUBLICATION_PART_ROOT);
#endif
}

/* Nothing happens when it is listed already */
static inline void
flo_compat_publish(Oid publication, PublicationRelInfo *table)
{
#if PG_VERSION_NUM >= 190000
	(void) publication_add_relation(publication, table, true, NULL);
#else
	(void) publication_add_relation(publication, table, true);
#endif
}

#endif
