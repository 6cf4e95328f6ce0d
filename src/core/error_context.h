/*
 * error_context.h
 *		What this process is working on, for every error message it raises.
 *
 * Fill in what is known as it becomes known and clear it afterwards; the
 * context line of an error is then made from it ("group "users", worker
 * "postgres", transaction finished at 0/1A2B3C8, table public.orders, ...").
 */
#ifndef FLO_ERROR_CONTEXT_H
#define FLO_ERROR_CONTEXT_H

#include "access/xlogdefs.h"
#include "utils/elog.h"

typedef struct FloErrorContext
{
	const char *group;
	const char *member;
	XLogRecPtr	commit_lsn;		/* end LSN where known, else the commit
								 * record's start */
	bool		several;		/* it is one of several transactions, and that
								 * LSN is the last one's */
	const char *operation;		/* "INSERT", ... */
	const char *schema;
	const char *table;
	const char *column;
	uint32		source_relation;	/* that table at the source: OID; 0 = none */
	const char *source_schema;	/* and its name there */
	const char *source_table;
	int64		rule;			/* of flo.rules; 0 = none */
	const char *row;			/* its key */
} FloErrorContext;

extern FloErrorContext flo_error_context;

/* Install / remove the error context callback of this process */
extern void flo_error_context_install(void);

/* The table at the source that a change is of; NULL: of none */
extern void flo_error_context_source(uint32 relation, const char *schema, const char *table);

/* Forget table, column, operation and transaction; group and member stay */
extern void flo_error_context_clear(void);

/* The context line, or NULL when nothing is known; in the caller's context */
extern char *flo_error_context_describe(void);

/*
 * Has an error to do with rows or objects, and not with the server or other
 * sessions?  Then another way may be tried.
 */
extern bool flo_error_is_about_data(int sqlerrcode);

#endif
