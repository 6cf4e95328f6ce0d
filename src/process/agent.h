/*
 * agent.h
 *		Asks the broker on behalf of an SQL function.
 *
 * Ordinary backends never load the NATS library.  They have a short-lived
 * background process do it, one for each call: an operation's name and its
 * arguments go there, a result or an error comes back.  Arguments and results
 * are JSON text, as src/bus/json.h reads and writes it.
 */
#ifndef FLO_AGENT_H
#define FLO_AGENT_H

#include "access/xlogdefs.h"
#include "bus/bus.h"
#include "bus/json.h"
#include "lib/stringinfo.h"
#include "wire/message.h"

/* No call takes longer, ms */
#define FLO_AGENT_TIMEOUT 10000

typedef struct FloAgentError
{
	int			sqlstate;
	char	   *message;
	char	   *detail;			/* NULL: none */
	char	   *hint;			/* NULL: none */
	bool		answered;		/* by the operation; else the process failed
								 * us */
} FloAgentError;

/*
 * Returns the operation's result, palloc'd.  An error of the operation is
 * raised; with "error" it is put there and the result is empty.  Trouble with
 * the process itself (none free, it died, the time is up) counts as an error
 * of the operation, a cancel of the query does not.
 */
extern FloJson flo_agent_call(const char *operation, const char *arguments,
							  FloAgentError *error);

/*
 * Write a message of pg_flo's for a group of this database, committed when this
 * returns whatever becomes of the caller.  Returns the end of that transaction:
 * who has everything up to there has the message, too.
 */
extern XLogRecPtr flo_agent_emit(FloMessageKind kind, const char *group, const char *payload);

/* An operation in this database, committed when this returns; its errors are raised */
extern FloJson flo_agent_call_here(const char *operation, const char *arguments);

/* --- in the agent -------------------------------------------------------- */

/* An operation: appends its result, throws its errors.  There is no database. */
typedef void (*FloAgentOperation) (FloBus *bus, FloJson arguments, StringInfo result);

/* By name, NULL for one that does not exist; in agent_ops.c */
extern FloAgentOperation flo_agent_operation(const char *name);

/* Operations in a database, within a transaction; in agent_cutover.c */
extern void flo_agent_request_cutover(FloJson arguments, StringInfo result);
extern void flo_agent_withdraw_cutover(FloJson arguments, StringInfo result);

#endif
