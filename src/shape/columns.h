/*
 * columns.h
 *		The source columns that the rules of one table need.
 */
#ifndef FLO_COLUMNS_H
#define FLO_COLUMNS_H

#include "shape/spec.h"
#include "shape/value.h"

typedef struct FloShapeColumn
{
	/* what it was when the rules were compiled */
	char	   *name;
	Oid			source_type;
	char	   *type_schema;
	char	   *type_name;
	FloReader	reader;

	/* where it is in the rows that come now */
	int			index;
	bool		is_key;
} FloShapeColumn;

typedef struct FloShapeColumns
{
	const FloRelation *relation;	/* while compiling */
	Oid			local;			/* table whose columns tell collations; may be
								 * invalid */
	const FloRouteSpec *route;	/* how these are called there; NULL: the same */
	MemoryContext context;
	int			count;
	int			room;
	FloShapeColumn *items;
	List	   *functions;		/* Oid: that expressions call, of users */
} FloShapeColumns;

/*
 * Number of the column in "items", looked up and added; -1 when the relation
 * has none of this name
 */
extern int	flo_columns_need(FloShapeColumns *columns, const char *name);

/*
 * Find the columns in another definition of the relation.  False when one of
 * them is missing or has another type.
 */
extern bool flo_columns_bind(FloShapeColumns *columns, const FloRelation *relation);

extern int	flo_relation_column(const FloRelation *relation, const char *name);

#endif
