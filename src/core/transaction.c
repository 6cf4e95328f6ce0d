/*
 * transaction.c
 *		Transactions of a background process's own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/transaction.h"
#include "utils/snapmgr.h"

MemoryContext
flo_transaction_begin(void)
{
	MemoryContext caller = CurrentMemoryContext;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	return caller;
}

void
flo_transaction_end(MemoryContext caller)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
}
