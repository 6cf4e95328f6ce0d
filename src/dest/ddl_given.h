/*
 * ddl_given.h
 *		Gives what a statement has made here the names that it has at the source.
 */
#ifndef FLO_DDL_GIVEN_H
#define FLO_DDL_GIVEN_H

#include "conf/ddl.h"
#include "dest/worker_rules.h"
#include "nodes/pg_list.h"
#include "wire/ddl.h"

/*
 * A statement was run, or its effect was there already; "entry" is its number
 * in flo.ddl_log, "made" (of ObjectAddress *) what it has made.  Names for it
 * may come until the transaction ends.  "bounded": what it has not made is
 * given a name only when it is the group's.
 */
extern void flo_ddl_expect_names(const FloDdlStatement *ddl, int64 entry, const List *made,
								 bool bounded);

/*
 * The names have come, those of another statement than one that was run before
 * in this transaction are passed over.  Throws 42P07 or 42710 when a name is
 * taken here by something else.
 */
extern void flo_ddl_give_names(const FloDdlPlace *place, const FloDdlStatement *ddl,
							   FloWorkerRules *routes);

#endif
