/*
 * compat.h
 *		The only place that knows PostgreSQL versions: wrappers with the newest
 *		signature for what changed between 15 and 18.
 */
#ifndef FLO_COMPAT_H
#define FLO_COMPAT_H

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "commands/tablecmds.h"
#include "common/jsonapi.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_relation.h"
#include "postmaster/autovacuum.h"
#include "replication/logical.h"
#include "replication/logicalproto.h"
#include "replication/message.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150000
#error "pg_flo needs PostgreSQL 15 or later"
#endif

/* Before the declaration, as newer versions want it */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* A transactional decoding message */
static inline XLogRecPtr
flo_compat_log_message(const char *prefix, const char *message, size_t size)
{
#if PG_VERSION_NUM >= 170000
	return LogLogicalMessage(prefix, message, size, true, false);
#else
	return LogLogicalMessage(prefix, message, size, true);
#endif
}

/* Is the text, which is in the server's encoding, JSON as far as its syntax goes? */
static inline bool
flo_compat_is_json(const char *text, int len)
{
	JsonLexContext *lex;
	bool		result;

#if PG_VERSION_NUM >= 170000
	lex = makeJsonLexContextCstringLen(NULL, text, len, GetDatabaseEncoding(), false);
	result = pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;
	freeJsonLexContext(lex);
#else
	lex = makeJsonLexContextCstringLen(unconstify(char *, text), len, GetDatabaseEncoding(), false);
	result = pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;
	pfree(lex);
#endif
	return result;
}

/* Create a logical slot held by this process */
static inline void
flo_compat_slot_create(const char *name, ReplicationSlotPersistency persistency)
{
#if PG_VERSION_NUM >= 170000
	ReplicationSlotCreate(name, true, persistency, false, false, false);
#else
	ReplicationSlotCreate(name, true, persistency, false);
#endif
}

static inline void
flo_compat_slot_acquire(const char *name)
{
#if PG_VERSION_NUM >= 180000
	ReplicationSlotAcquire(name, true, true);
#else
	ReplicationSlotAcquire(name, true);
#endif
}

/* Has the server given up this slot's WAL or catalog rows? */
static inline bool
flo_compat_slot_invalidated(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 160000
	return slot->data.invalidated != RS_INVAL_NONE;
#else
	return !XLogRecPtrIsInvalid(slot->data.invalidated_at);
#endif
}

/* ... because nobody had used it for idle_replication_slot_timeout? */
static inline bool
flo_compat_slot_idle_too_long(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 180000
	return slot->data.invalidated == RS_INVAL_IDLE_TIMEOUT;
#else
	return false;
#endif
}

static inline void
flo_compat_origin_setup(RepOriginId node)
{
#if PG_VERSION_NUM >= 160000
	replorigin_session_setup(node, 0);
#else
	replorigin_session_setup(node);
#endif
}

/* The number by which another process's PGPROC is found again */
static inline int
flo_compat_my_procno(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyProc->pgprocno;
#endif
}

/* A set of events to wait for; freed by the caller */
static inline WaitEventSet *
flo_compat_wait_set_create(int events)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, events);
#else
	return CreateWaitEventSet(CurrentMemoryContext, events);
#endif
}

/* What pg_stat_activity shows a process to wait for; by name since 17 */
static inline uint32
flo_compat_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* Memory of configuration parameters: malloc'ed until 15, in a context since */
static inline void *
flo_compat_guc_malloc(size_t size)
{
#if PG_VERSION_NUM >= 160000
	return guc_malloc(LOG, size);
#else
	return malloc(size);
#endif
}

static inline void
flo_compat_guc_free(void *ptr)
{
#if PG_VERSION_NUM >= 160000
	guc_free(ptr);
#else
	free(ptr);
#endif
}

/* Privileges of a role on a database; ownership of a database */
static inline AclResult
flo_compat_database_aclcheck(Oid database, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(DatabaseRelationId, database, role, mode);
#else
	return pg_database_aclcheck(database, role, mode);
#endif
}

static inline bool
flo_compat_database_ownercheck(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

/* May the role look up names there (ACL_USAGE), or make objects (ACL_CREATE)? */
static inline bool
flo_compat_schema_allows(Oid schema, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, schema, role, mode) == ACLCHECK_OK;
#else
	return pg_namespace_aclcheck(schema, role, mode) == ACLCHECK_OK;
#endif
}

static inline bool
flo_compat_class_ownercheck(Oid relation, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relation, role);
#else
	return pg_class_ownercheck(relation, role);
#endif
}

/* ALTER TABLE ... ALTER COLUMN ... SET EXPRESSION, which there is since 17 */
static inline bool
flo_compat_is_set_expression(AlterTableType type)
{
#if PG_VERSION_NUM >= 170000
	return type == AT_SetExpression;
#else
	return false;
#endif
}

/* A qualified name as people write it, in its parts */
static inline List *
flo_compat_qualified_names(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return stringToQualifiedNameList(name, NULL);
#else
	return stringToQualifiedNameList(name);
#endif
}

/* May "member" become "role" by SET ROLE? */
static inline bool
flo_compat_can_set_role(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return member_can_set_role(member, role);
#else
	return is_member_of_role(member, role);
#endif
}

/* The locale's attribute of a provider other than libc */
#if PG_VERSION_NUM >= 170000
#define FLO_COLLATION_LOCALE Anum_pg_collation_colllocale
#define FLO_DATABASE_LOCALE Anum_pg_database_datlocale
#else
#define FLO_COLLATION_LOCALE Anum_pg_collation_colliculocale
#define FLO_DATABASE_LOCALE Anum_pg_database_daticulocale
#endif

/*
 * Provider and locale of a collation, or of the database's own (invalid); NULL
 * when they do not say all: rules were added.
 */
static inline char *
flo_compat_collation_locale(Oid collation)
{
	bool		own = !OidIsValid(collation);
	int			cache = own ? DATABASEOID : COLLOID;
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(own ? MyDatabaseId : collation));
	char		provider;
	Datum		locale;
	bool		isnull;
	char	   *result = NULL;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	provider = own ? ((Form_pg_database) GETSTRUCT(tuple))->datlocprovider :
		((Form_pg_collation) GETSTRUCT(tuple))->collprovider;
	if (provider == COLLPROVIDER_LIBC)
		locale = SysCacheGetAttr(cache, tuple, own ? Anum_pg_database_datcollate :
								 Anum_pg_collation_collcollate, &isnull);
	else
		locale = SysCacheGetAttr(cache, tuple, own ? FLO_DATABASE_LOCALE : FLO_COLLATION_LOCALE,
								 &isnull);
	if (!isnull)
		result = psprintf("%c %s", provider, TextDatumGetCString(locale));
#if PG_VERSION_NUM >= 160000
	(void) SysCacheGetAttr(cache, tuple, own ? Anum_pg_database_daticurules :
						   Anum_pg_collation_collicurules, &isnull);
	if (!isnull)
		result = NULL;
#endif
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Truncate tables that are open and locked, without CASCADE.  Before 16 the
 * triggers run as the current user whatever as_table_owner says.
 */
static inline void
flo_compat_truncate(List *rels, List *relids, List *logged, bool restart_identity,
					bool as_table_owner)
{
#if PG_VERSION_NUM >= 160000
	ExecuteTruncateGuts(rels, relids, logged, DROP_RESTRICT, restart_identity,
						as_table_owner);
#else
	ExecuteTruncateGuts(rels, relids, logged, DROP_RESTRICT, restart_identity);
#endif
}

/*
 * Since 18, a table with REPLICA IDENTITY FULL can only be updated while
 * published when its stored generated columns are published, too, and not at
 * all when it has virtual ones.
 */
#if PG_VERSION_NUM >= 180000
#define FLO_PUBLISH_GENERATED ", publish_generated_columns = stored"
#define FLO_SENDS_GENERATED true
#else
#define FLO_PUBLISH_GENERATED ""
#define FLO_SENDS_GENERATED false
#endif

static inline bool
flo_compat_full_identity_works(Relation relation)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetDescr(relation)->constr == NULL ||
		!RelationGetDescr(relation)->constr->has_generated_virtual;
#else
	return true;
#endif
}

static inline bool
flo_compat_is_autovacuum(void)
{
#if PG_VERSION_NUM >= 170000
	return AmAutoVacuumWorkerProcess();
#else
	return IsAutoVacuumWorkerProcess();
#endif
}

#define FLO_TRUNCATE_SWITCHES_USER (PG_VERSION_NUM >= 160000)

/* The primary key's index; invalid when there is none or it is deferrable */
static inline Oid
flo_compat_primary_key(Relation relation)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(relation, false);
#else
	return RelationGetPrimaryKeyIndex(relation);
#endif
}

/* The process that runs a virtual transaction; 0 when it has ended or is a prepared one */
static inline int
flo_compat_vxid_pid(VirtualTransactionId vxid)
{
#if PG_VERSION_NUM >= 170000
	PGPROC	   *proc = ProcNumberGetProc(vxid.procNumber);
	bool		here = proc != NULL && proc->vxid.lxid == vxid.localTransactionId;
#else
	PGPROC	   *proc = BackendIdGetProc(vxid.backendId);
	bool		here = proc != NULL && proc->lxid == vxid.localTransactionId;
#endif

	return here ? proc->pid : 0;
}

/* Until 17 the executor is also told whether a query is run only once: the hook passes it on */
#if PG_VERSION_NUM >= 180000
#define FLO_EXECUTE_ONCE_PARAMETER
#define FLO_EXECUTE_ONCE_ARGUMENT
#else
#define FLO_EXECUTE_ONCE_PARAMETER , bool once
#define FLO_EXECUTE_ONCE_ARGUMENT , once
#endif

/* An executor state that knows one relation, as number 1 */
static inline void
flo_compat_init_range_table(EState *estate, Relation rel)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
#if PG_VERSION_NUM >= 160000
	List	   *permissions = NIL;
#endif

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM >= 160000
	addRTEPermissionInfo(&permissions, rte);
#endif
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(rte), permissions, bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
	ExecInitRangeTable(estate, list_make1(rte), permissions);
#else
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

static inline IndexScanDesc
flo_compat_index_beginscan(Relation rel, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(rel, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(rel, index, snapshot, nkeys, 0);
#endif
}

/* Index entries of a new row, without deferred checks */
static inline void
flo_compat_insert_index_tuples(ResultRelInfo *info, TupleTableSlot *slot, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL, false);
#else
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL);
#endif
}

/* A new version of the row at "tid", in the indexes as well */
static inline TM_Result
flo_compat_tuple_update(ResultRelInfo *info, ItemPointer tid, TupleTableSlot *slot,
						EState *estate, CommandId cid, Snapshot snapshot)
{
	TM_FailureData failure;
	LockTupleMode lock_mode;
	TM_Result	result;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes update_indexes;

	result = table_tuple_update(info->ri_RelationDesc, tid, slot, cid, snapshot,
								InvalidSnapshot, true, &failure, &lock_mode, &update_indexes);
	if (result == TM_Ok && info->ri_NumIndices > 0 && update_indexes != TU_None)
		ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL,
							  update_indexes == TU_Summarizing);
#else
	bool		update_indexes;

	result = table_tuple_update(info->ri_RelationDesc, tid, slot, cid, snapshot,
								InvalidSnapshot, true, &failure, &lock_mode, &update_indexes);
	if (result == TM_Ok && info->ri_NumIndices > 0 && update_indexes)
		ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL);
#endif
	return result;
}

/*
 * Logical replication messages of a relation and a row, with these columns (by
 * number) only; stored generated ones stay out
 */
static inline void
flo_compat_write_relation(StringInfo out, Relation relation, Bitmapset *columns)
{
#if PG_VERSION_NUM >= 180000
	logicalrep_write_rel(out, InvalidTransactionId, relation, columns, PUBLISH_GENCOLS_NONE);
#else
	logicalrep_write_rel(out, InvalidTransactionId, relation, columns);
#endif
}

static inline void
flo_compat_write_insert(StringInfo out, Relation relation, TupleTableSlot *row,
						bool binary, Bitmapset *columns)
{
#if PG_VERSION_NUM >= 180000
	logicalrep_write_insert(out, InvalidTransactionId, relation, row, binary, columns,
							PUBLISH_GENCOLS_NONE);
#else
	logicalrep_write_insert(out, InvalidTransactionId, relation, row, binary, columns);
#endif
}

#endif
