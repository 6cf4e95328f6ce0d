/*
 * known_tables.h
 *		Notices when a table or column that rules name gets another name.
 */
#ifndef FLO_KNOWN_TABLES_H
#define FLO_KNOWN_TABLES_H

#include "shape/rules.h"
#include "shape/spec.h"
#include "wire/change.h"

/* The type of a column, without length: the OID of one that every server has, else a name */
extern char *flo_known_type(const FloColumn *column);

extern FloKnownTable *flo_known_table_find(const FloShapeSpec *spec, uint32 id);

/*
 * Throw 42P01 when the table was known by another name, rules or routes name
 * that one, and none names the new one.
 */
extern void flo_known_table_check_name(const FloShapeSpec *spec, const FloRelation *relation);

/*
 * Throw 42703 when a column that the rule uses stands where only a later
 * column can stand: the name has passed to another column.
 */
extern void flo_known_table_check_rule(const FloShapeSpec *spec, const FloRule *rule,
									   const FloShapeColumns *columns, const FloRelation *relation);
extern void flo_known_table_check_route(const FloShapeSpec *spec, const FloRouteSpec *route,
										const FloRelation *relation);

/*
 * Remember the table as it is now, in the current memory context; NULL when
 * nothing is new.
 */
extern FloKnownTable *flo_known_table_note(FloShapeSpec *spec, const FloRelation *relation);

/* How many of the tables that are known lead to the one of this name? */
extern int	flo_known_tables_to(const FloShapeSpec *spec, const char *schema, const char *table);

#endif
