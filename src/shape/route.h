/*
 * route.h
 *		Where the changes of a table go, and under which names.
 */
#ifndef FLO_ROUTE_H
#define FLO_ROUTE_H

#include "shape/spec.h"
#include "wire/change.h"

typedef struct FloRoute
{
	const FloRouteSpec *spec;
	FloRelation relation;		/* as the sink is to see it */
	int		   *sources;		/* for each of its columns, the source's;
								 * NULL: all, in order */
} FloRoute;

/* The one that applies to a table; NULL when there is none */
extern const FloRouteSpec *flo_route_find(const List *routes, const char *schema,
										  const char *table);

/* Do other routes lead where this one (NULL: none) leads the relation? */
extern bool flo_route_is_shared(const List *routes, const FloRouteSpec *route,
								const FloRelation *relation);

/*
 * Describe the relation as the route makes it.  Gives it another version only
 * if it has changed.  Throws 42703, 42701 or 22023 when the route does not fit.
 */
extern void flo_route_bind(FloRoute *route, const FloRouteSpec *spec, const FloRelation *source,
						   MemoryContext context);

/* The route's part of a row */
extern void flo_route_project(const FloRoute *route, const FloTuple *from, FloTuple *to);

#endif
