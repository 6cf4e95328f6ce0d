/*
 * shape.h
 *		Rules and routes at work: from a change to the change it becomes.
 *
 * One shape serves one member.  It is given all rules and routes in force at
 * once and compiles them for each table that comes along; a table that none of
 * them names passes untouched, at the cost of a comparison of pointers.
 */
#ifndef FLO_SHAPE_H
#define FLO_SHAPE_H

#include "shape/spec.h"
#include "utils/palloc.h"
#include "wire/change.h"

typedef struct FloShape FloShape;

typedef struct FloShapeSettings
{
	Oid			owner;			/* of the member; invalid: not checked against
								 * authors */

	/*
	 * An UPDATE by which a row enters or leaves a filter becomes INSERT or
	 * DELETE where that can be known.  Else the new row alone decides.
	 */
	bool		convert_updates;

	/*
	 * Changes come out of logical decoding: what can be looked up there is
	 * the catalogs of the past.  All compiling is done by
	 * flo_shape_refresh().
	 */
	bool		decoding;

	/*
	 * Every column of every table has to be decided about, and messages show
	 * no value that was not
	 */
	bool		strict;
} FloShapeSettings;

extern FloShape *flo_shape_create(MemoryContext context, const FloShapeSettings *settings);

/*
 * Put other rules and routes in force, all at once; between transactions.
 * "context" holds the spec and becomes the shape's.  Compiles nothing yet.
 */
extern void flo_shape_load(FloShape *shape, FloShapeSpec *spec, MemoryContext context);

/*
 * The source table with this OID is not needed for now; what applies to it is
 * made again when it is
 */
extern void flo_shape_forget(FloShape *shape, uint32 relation);

/* The member's owner is another */
extern void flo_shape_set_owner(FloShape *shape, Oid owner);

/*
 * Compile rules of local tables where that is due.  Needs a transaction of the
 * caller's own, outside logical decoding.
 */
extern void flo_shape_refresh(FloShape *shape);
extern bool flo_shape_is_stale(const FloShape *shape);

/*
 * Have the server's caches hold the functions that rules call as they are now.  Rows
 * that are decoded next may be from before such a function was made, where it would
 * not be found.
 */
extern void flo_shape_look_up(const FloShape *shape);

/*
 * What becomes of a change: itself, another, or NULL when it is dropped.  The
 * result is valid until the next call.  Needs a transaction when rules or
 * routes name the table.  Throws where rules fail closed, with flo_error_context.rule
 * and flo_error_context.row set.
 */
extern const FloChange *flo_shape_apply(FloShape *shape, const FloChange *change);

/* What is in force */
extern const FloShapeSpec *flo_shape_spec(const FloShape *shape);

/* The route that applies to a table; NULL: none */
extern const FloRouteSpec *flo_shape_route(const FloShape *shape, const char *schema,
										   const char *table);

/*
 * May rows of the table come out other than they went in, or fewer of them?  By its
 * name alone; a route's columns are not looked at.
 */
extern bool flo_shape_alters(const FloShape *shape, const char *schema, const char *table);

/* How many tables that have come lead to the one of this name? */
extern int	flo_shape_known_to(const FloShape *shape, const char *schema, const char *table);

/* No rules and no routes at all */
extern bool flo_shape_is_empty(const FloShape *shape);

/* Does any rule or route concern the table?  Then its changes must be parsed. */
extern bool flo_shape_concerns(FloShape *shape, const FloRelation *relation);

/* Where the table's rows go: the relation itself, or as its route makes it */
extern const FloRelation *flo_shape_target(FloShape *shape, const FloRelation *relation);

/* Do routes lead other tables there, too? */
extern bool flo_shape_shares_target(const FloShape *shape, const FloRelation *relation);

/*
 * Has a table of that name come to which rules or routes apply, or whose
 * target is another one's by a route?
 */
extern bool flo_shape_knows(const FloShape *shape, const char *schema, const char *table);

/*
 * Tables that rules or a route have been applied to for the first time, or in
 * a new definition, since the last call: a List of FloKnownTable * to be kept.
 * If they could not be kept after all, call flo_shape_load() again.
 */
extern List *flo_shape_take_news(FloShape *shape);

/* --- for checks and flo.preview() ---------------------------------------- */

/*
 * A local table as the source would describe it, in the current memory
 * context; NULL when there is none.
 */
extern FloRelation *flo_shape_local_relation(const char *schema, const char *table);

#endif
