/*
 * ddl_locks.c
 *		Locks that a statement of the source needs here, and who holds them.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/tablecmds.h"
#include "core/compat_process.h"
#include "dest/ddl_locks.h"
#include "dest/ddl_names.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"

static int
holder(Oid relation, LOCKMODE mode)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	int			count;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	holders = GetLockConflicts(&tag, mode, &count);
	for (int i = 0; i < count; i++)
	{
		int			pid = flo_compat_vxid_pid(holders[i]);

		if (pid != 0 && pid != MyProcPid)
			return pid;
	}
	return 0;
}

static LOCKMODE
lock_needed(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_AlterTableStmt:
			return AlterTableGetLockLevel(((AlterTableStmt *) statement)->cmds);
		case T_IndexStmt:
			return ShareLock;
		case T_CreateTrigStmt:
			return ShareRowExclusiveLock;
		default:
			return AccessExclusiveLock;
	}
}

static void
wait_for_lock(Oid relation, LOCKMODE mode)
{
	int			pid = holder(relation, mode);

	flo_state_set(FLO_STATE_WAITING, pid != 0 ? "lock held by pid %d" : "for a lock", pid);
	PG_TRY();
	{
		LockRelationOid(relation, mode);
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		if (code != ERRCODE_LOCK_NOT_AVAILABLE || pid == 0)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("lock held by pid %d: not had within lock_timeout (%d ms)", pid,
						LockTimeout),
				 errhint("It is tried again; end the transaction of that process, or raise the worker's option lock_timeout.")));
	}
	PG_END_TRY();
	flo_state_set(FLO_STATE_STREAMING, NULL);
}

void
flo_ddl_lock_relations(Node *statement)
{
	LOCKMODE	mode = lock_needed(statement);
	ListCell   *cell;

	foreach(cell, flo_ddl_changed_relations(statement))
	{
		Oid			relation = RangeVarGetRelid(lfirst(cell), NoLock, true);

		if (!OidIsValid(relation) || ConditionalLockRelationOid(relation, mode))
			continue;
		wait_for_lock(relation, mode);
	}
}
