/*
 * ddl_made.h
 *		What a statement of the session makes, while it runs.
 */
#ifndef FLO_DDL_MADE_H
#define FLO_DDL_MADE_H

#include "wire/ddl.h"

typedef struct FloDdlMade
{
	const FloDdlStatement *statement;
	MemoryContext context;		/* lives as long as the statement */
	List	   *objects;		/* of ObjectAddress *, in order */
	int			told;			/* so many of them */
} FloDdlMade;

/*
 * Objects that are made from now on are this statement's, or nobody's (NULL).
 * Returns whose they were.
 */
extern FloDdlMade *flo_ddl_made_watch(FloDdlMade *made);

/* Whose they are now; NULL = nobody's */
extern FloDdlMade *flo_ddl_made_watched(void);

/*
 * What it has made and was not told yet, List of FloNamed * in the current
 * memory context: what is of a kind that the server names, is still there and
 * is not temporary or otherwise private.
 */
extern List *flo_ddl_made_names(FloDdlMade *made);

#endif
