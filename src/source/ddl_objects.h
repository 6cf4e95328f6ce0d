/*
 * ddl_objects.h
 *		What a DDL statement is about.
 */
#ifndef FLO_DDL_OBJECTS_H
#define FLO_DDL_OBJECTS_H

#include "nodes/nodes.h"
#include "wire/ddl.h"

/* Cheap: may this statement be tracked at all? */
extern bool flo_ddl_is_candidate(Node *statement);

/*
 * Fill in tag, objects, replay and what kind of statement it is, as things
 * stand before it runs.  False when it is not to be tracked: it will change
 * nothing or only what never travels (temporary tables, schema flo), or it is
 * about to fail.  Takes no lock on tables.
 */
extern bool flo_ddl_describe(Node *statement, FloDdlStatement *ddl);

/* Never travels: temporary, a system schema, or ours */
extern bool flo_ddl_is_private_schema(Oid namespace);

/* Add an existing relation to ddl->objects, NULL when it is none that is tracked */
extern FloDdlObject *flo_ddl_add_relation(FloDdlStatement *ddl, const struct RangeVar *name);

#endif
