/*
 * copy_schema_object.h
 *		The objects that come with a copy, one by one.
 */
#ifndef FLO_COPY_SCHEMA_OBJECT_H
#define FLO_COPY_SCHEMA_OBJECT_H

#include "conf/spec.h"
#include "nodes/pg_list.h"

/* The section of flo.copied_objects that comes after the rows */
#define FLO_SCHEMA_AFTER "after"

/* An object that is not there yet */
typedef struct FloSchemaObject
{
	char	   *ordinal;		/* a number */
	char	   *table;			/* an OID, "0" for what is no index or
								 * constraint */
	char	   *name;
	char	   *command;
	bool		has_address;
	bool		rest;			/* no table needs it */
	bool		optional;		/* no row needs it */
	bool		unchecked;		/* a foreign key that rows violate */
} FloSchemaObject;

/*
 * Those of a section that are still to be done and fit a condition in SQL, in an order
 * in SQL, as a List of FloSchemaObject *, in a transaction
 */
extern List *flo_schema_objects(const FloWorkerSpec *spec, const char *section,
								const char *which, const char *order);

/*
 * Make one, in a transaction, which has to be given up when this returns why a person
 * has to decide.  What no table needs is done without, and what no row needs when it
 * cannot be made; in *error what went wrong with anything else, of which nothing is left.
 */
extern char *flo_schema_create(const FloWorkerSpec *spec, FloSchemaObject *object,
							   ErrorData **error);

#endif
