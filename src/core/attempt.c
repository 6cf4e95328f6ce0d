/*
 * attempt.c
 *		Something that may fail, in a subtransaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "core/attempt.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

ErrorData *
flo_attempt(void (*run) (void *arg), void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner resources = CurrentResourceOwner;
	TransactionId decoded = CheckXidAlive;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		run(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (error == NULL && keep)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = resources;

	/*
	 * Which transaction is decoded while it is open: by that the server finds
	 * out that it was aborted meanwhile.  The end of a subtransaction clears
	 * it.
	 */
	CheckXidAlive = decoded;
	return error;
}

void
flo_attempt_constraints(void)
{
	ConstraintsSetStmt *immediate = makeNode(ConstraintsSetStmt);

	AfterTriggerSetState(immediate);
	pfree(immediate);
}

ErrorData *
flo_attempt_transaction(void (*run) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		(void) flo_transaction_begin();
		MemoryContextSwitchTo(context);
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
		run(arg);
		ForceSyncCommit();
		flo_transaction_end(context);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
	}
	PG_END_TRY();
	return error;
}

/*
 * While a process exits the server makes each error the end of it; what is said last
 * is not worth that.
 */
void
flo_attempt_at_exit(void (*run) (void *arg), void *arg)
{
	uint32		holdoff = InterruptHoldoffCount;
	bool		exiting = proc_exit_inprogress;
	MemoryContext context = CurrentMemoryContext;

	proc_exit_inprogress = false;
	PG_TRY();
	{
		run(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	InterruptHoldoffCount = holdoff;
	proc_exit_inprogress = exiting;
}
