/*
 * given_names.h
 *		Things whose name the server may have chosen, and what tells them apart
 *		without it.
 *
 * Both sides look at their own things through this: the source to say what has
 * which name, a destination to find what is to have it.
 */
#ifndef FLO_GIVEN_NAMES_H
#define FLO_GIVEN_NAMES_H

#include "catalog/objectaddress.h"
#include "wire/ddl.h"

/* With what it belongs to in its own database */
typedef struct FloNamedThing
{
	ObjectAddress object;
	ObjectAddress whole;		/* a table or type */
	Oid			to;				/* what a foreign key refers to, or 0 */
	FloNamed	named;
} FloNamedThing;

/*
 * NULL when it is nothing of the kind, or is gone.  Definitions show names by
 * the search_path that is set; see flo_given_names_enter().  Takes a lock in
 * ACCESS SHARE mode on an index.
 */
extern FloNamedThing *flo_given_name(const ObjectAddress *object);

/* All of them that a table or type has, List of FloNamedThing *.  The table must be locked. */
extern List *flo_given_names_of(const ObjectAddress *whole);

/* While definitions are looked at, lest they depend on the session */
struct FloAsRole;
extern void flo_given_names_enter(struct FloAsRole *as);

#endif
