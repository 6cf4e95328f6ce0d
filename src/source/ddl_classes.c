/*
 * ddl_classes.c
 *		The statements that the server knows, and which of them travel.
 *
 * One row for each statement of the grammar that is no query; doc/ddl.md shows
 * them, and a test takes one example of each through a group.  "Held" is meant
 * for the default of ddl_trust, and of the class as a rule: a part that brings
 * code has any statement held.
 */
#include "postgres.h"

#include "core/compat_statement.h"
#include "nodes/parsenodes.h"
#include "source/ddl_classes.h"

#define CARRIED "carried"
#define HELD "held"
#define WITH_ROWS "as rows"
#define NOT_REPLICATED "not replicated"

#define ROW(name, commands, fate, remark) {T_##name, #name, commands, fate, remark}
#define CLASS(name, commands, fate, remark) ROW(name, commands, fate, remark)

#define ELSEWHERE "belongs to the cluster"
#define LOCAL "is about what is on the disk"
#define SESSION "is over with the session"
#define FOREIGN "foreign data is each database's own"
#define NOT_TRACKED "make it at both sides"
#define INSIDE "the commands in it do"
#define FLOW "what replicates is each database's own"

static const FloDdlClass classes[] = {
	CLASS(CreateStmt, "CREATE TABLE", CARRIED, "without TABLESPACE"),
	CLASS(CreateTableAsStmt, "CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW", CARRIED,
		  "the rows of a table travel as rows"),
	CLASS(AlterTableStmt, "ALTER TABLE, INDEX, VIEW, MATERIALIZED VIEW, ALTER TYPE ... ATTRIBUTE",
		  CARRIED,
		  "without SET TABLESPACE; not of foreign tables, and no ATTACH or DETACH of them"),
	CLASS(DropStmt, "DROP", CARRIED, "of what else travels"),
	CLASS(RenameStmt, "ALTER ... RENAME", CARRIED,
		  "of what else travels; held for functions, aggregates, operators, policies"),
	CLASS(AlterObjectSchemaStmt, "ALTER ... SET SCHEMA", CARRIED, "the same"),
	CLASS(AlterOwnerStmt, "ALTER ... OWNER TO", HELD,
		  "with the option schema_owner; else not replicated"),
	CLASS(CommentStmt, "COMMENT", CARRIED, "on what else travels"),
	CLASS(IndexStmt, "CREATE INDEX", CARRIED, "without TABLESPACE"),
	CLASS(CreateStatsStmt, "CREATE STATISTICS", CARRIED, ""),
	CLASS(AlterStatsStmt, "ALTER STATISTICS", CARRIED, ""),
	CLASS(CreateSeqStmt, "CREATE SEQUENCE", CARRIED, "values travel with flo.sync_sequences()"),
	CLASS(AlterSeqStmt, "ALTER SEQUENCE", CARRIED, ""),
	CLASS(CreateSchemaStmt, "CREATE SCHEMA", CARRIED, "held with elements"),
	CLASS(CompositeTypeStmt, "CREATE TYPE ... AS (...)", CARRIED, ""),
	CLASS(CreateEnumStmt, "CREATE TYPE ... AS ENUM", CARRIED, ""),
	CLASS(AlterEnumStmt, "ALTER TYPE ... ADD VALUE, RENAME VALUE", CARRIED, ""),
	CLASS(CreateRangeStmt, "CREATE TYPE ... AS RANGE", CARRIED, "held with functions"),
	CLASS(CreateDomainStmt, "CREATE DOMAIN", CARRIED, ""),
	CLASS(AlterDomainStmt, "ALTER DOMAIN", CARRIED, ""),
	CLASS(ViewStmt, "CREATE VIEW", CARRIED, "held where it would be a superuser's"),
	CLASS(RefreshMatViewStmt, "REFRESH MATERIALIZED VIEW", CARRIED, "the same"),
	CLASS(FLO_CLUSTER_STATEMENT, "CLUSTER, REPACK", CARRIED,
		  "CLUSTER as ALTER TABLE ... CLUSTER ON; not of partitioned tables, nor without an index"),
	CLASS(DefineStmt, "CREATE AGGREGATE, OPERATOR, COLLATION, TYPE", HELD,
		  "collations are carried; TEXT SEARCH is not replicated"),
	CLASS(AlterTypeStmt, "ALTER TYPE ... SET (...)", HELD, ""),
	CLASS(AlterOperatorStmt, "ALTER OPERATOR ... SET (...)", HELD, ""),
	CLASS(CreateFunctionStmt, "CREATE FUNCTION, PROCEDURE", HELD, "not over temporary types"),
	CLASS(AlterFunctionStmt, "ALTER FUNCTION, PROCEDURE, ROUTINE", HELD, ""),
	CLASS(CreateTrigStmt, "CREATE TRIGGER", HELD, "not on foreign tables"),
	CLASS(RuleStmt, "CREATE RULE", HELD, ""),
	CLASS(CreatePolicyStmt, "CREATE POLICY", HELD, ""),
	CLASS(AlterPolicyStmt, "ALTER POLICY", HELD, ""),
	CLASS(GrantStmt, "GRANT, REVOKE", HELD, "with the option schema_privileges; else, and on all objects of a schema, not replicated"),
	CLASS(TruncateStmt, "TRUNCATE", WITH_ROWS, ""),
	CLASS(CopyStmt, "COPY", WITH_ROWS, ""),
	CLASS(ExecuteStmt, "EXECUTE", WITH_ROWS, "CREATE TABLE AS EXECUTE as CREATE TABLE AS"),
	CLASS(CallStmt, "CALL", WITH_ROWS, INSIDE),
	CLASS(DoStmt, "DO", WITH_ROWS, INSIDE),
	CLASS(ExplainStmt, "EXPLAIN", WITH_ROWS, "EXPLAIN ANALYZE CREATE TABLE AS as CREATE TABLE AS"),
	CLASS(TransactionStmt, "BEGIN, COMMIT, SAVEPOINT, PREPARE TRANSACTION", WITH_ROWS,
		  "what is rolled back never arrives"),
	CLASS(AlterCollationStmt, "ALTER COLLATION ... REFRESH VERSION", NOT_REPLICATED, LOCAL),
	CLASS(AlterObjectDependsStmt, "ALTER ... DEPENDS ON EXTENSION", NOT_REPLICATED, NOT_TRACKED),
	CLASS(AlterDefaultPrivilegesStmt, "ALTER DEFAULT PRIVILEGES", NOT_REPLICATED, NOT_TRACKED),
	CLASS(SecLabelStmt, "SECURITY LABEL", NOT_REPLICATED, NOT_TRACKED),
	CLASS(DropOwnedStmt, "DROP OWNED", NOT_REPLICATED, NOT_TRACKED),
	CLASS(ReassignOwnedStmt, "REASSIGN OWNED", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreateExtensionStmt, "CREATE EXTENSION", NOT_REPLICATED, NOT_TRACKED),
	CLASS(AlterExtensionStmt, "ALTER EXTENSION ... UPDATE", NOT_REPLICATED, NOT_TRACKED),
	CLASS(AlterExtensionContentsStmt, "ALTER EXTENSION ... ADD, DROP", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreateAmStmt, "CREATE ACCESS METHOD", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreatePLangStmt, "CREATE LANGUAGE", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreateCastStmt, "CREATE CAST", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreateConversionStmt, "CREATE CONVERSION", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreateTransformStmt, "CREATE TRANSFORM", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreateOpClassStmt, "CREATE OPERATOR CLASS", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreateOpFamilyStmt, "CREATE OPERATOR FAMILY", NOT_REPLICATED, NOT_TRACKED),
	CLASS(AlterOpFamilyStmt, "ALTER OPERATOR FAMILY", NOT_REPLICATED, NOT_TRACKED),
	CLASS(AlterTSDictionaryStmt, "ALTER TEXT SEARCH DICTIONARY", NOT_REPLICATED, NOT_TRACKED),
	CLASS(AlterTSConfigurationStmt, "ALTER TEXT SEARCH CONFIGURATION", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreateEventTrigStmt, "CREATE EVENT TRIGGER", NOT_REPLICATED, NOT_TRACKED),
	CLASS(AlterEventTrigStmt, "ALTER EVENT TRIGGER", NOT_REPLICATED, NOT_TRACKED),
	CLASS(CreateFdwStmt, "CREATE FOREIGN DATA WRAPPER", NOT_REPLICATED, FOREIGN),
	CLASS(AlterFdwStmt, "ALTER FOREIGN DATA WRAPPER", NOT_REPLICATED, FOREIGN),
	CLASS(CreateForeignServerStmt, "CREATE SERVER", NOT_REPLICATED, FOREIGN),
	CLASS(AlterForeignServerStmt, "ALTER SERVER", NOT_REPLICATED, FOREIGN),
	CLASS(CreateUserMappingStmt, "CREATE USER MAPPING", NOT_REPLICATED, FOREIGN),
	CLASS(AlterUserMappingStmt, "ALTER USER MAPPING", NOT_REPLICATED, FOREIGN),
	CLASS(DropUserMappingStmt, "DROP USER MAPPING", NOT_REPLICATED, FOREIGN),
	CLASS(CreateForeignTableStmt, "CREATE FOREIGN TABLE", NOT_REPLICATED, FOREIGN),
	CLASS(ImportForeignSchemaStmt, "IMPORT FOREIGN SCHEMA", NOT_REPLICATED, FOREIGN),
	CLASS(CreatePublicationStmt, "CREATE PUBLICATION", NOT_REPLICATED, FLOW),
	CLASS(AlterPublicationStmt, "ALTER PUBLICATION", NOT_REPLICATED, FLOW),
	CLASS(CreateSubscriptionStmt, "CREATE SUBSCRIPTION", NOT_REPLICATED, FLOW),
	CLASS(AlterSubscriptionStmt, "ALTER SUBSCRIPTION", NOT_REPLICATED, FLOW),
	CLASS(DropSubscriptionStmt, "DROP SUBSCRIPTION", NOT_REPLICATED, FLOW),
	CLASS(CreatedbStmt, "CREATE DATABASE", NOT_REPLICATED, ELSEWHERE),
	CLASS(AlterDatabaseStmt, "ALTER DATABASE", NOT_REPLICATED, ELSEWHERE),
	CLASS(AlterDatabaseRefreshCollStmt, "ALTER DATABASE ... REFRESH COLLATION VERSION",
		  NOT_REPLICATED, LOCAL),
	CLASS(AlterDatabaseSetStmt, "ALTER DATABASE ... SET", NOT_REPLICATED, ELSEWHERE),
	CLASS(DropdbStmt, "DROP DATABASE", NOT_REPLICATED, ELSEWHERE),
	CLASS(CreateRoleStmt, "CREATE ROLE", NOT_REPLICATED, ELSEWHERE),
	CLASS(AlterRoleStmt, "ALTER ROLE, ALTER GROUP", NOT_REPLICATED, ELSEWHERE),
	CLASS(AlterRoleSetStmt, "ALTER ROLE ... SET", NOT_REPLICATED, ELSEWHERE),
	CLASS(DropRoleStmt, "DROP ROLE", NOT_REPLICATED, ELSEWHERE),
	CLASS(GrantRoleStmt, "GRANT, REVOKE of roles", NOT_REPLICATED, ELSEWHERE),
	CLASS(AlterSystemStmt, "ALTER SYSTEM", NOT_REPLICATED, ELSEWHERE),
	CLASS(CreateTableSpaceStmt, "CREATE TABLESPACE", NOT_REPLICATED, ELSEWHERE),
	CLASS(DropTableSpaceStmt, "DROP TABLESPACE", NOT_REPLICATED, ELSEWHERE),
	CLASS(AlterTableSpaceOptionsStmt, "ALTER TABLESPACE ... SET (...)", NOT_REPLICATED, ELSEWHERE),
	CLASS(AlterTableMoveAllStmt, "ALTER ... ALL IN TABLESPACE", NOT_REPLICATED, LOCAL),
	CLASS(VacuumStmt, "VACUUM, ANALYZE", NOT_REPLICATED, LOCAL),
	CLASS(ReindexStmt, "REINDEX", NOT_REPLICATED, LOCAL),
	CLASS(CheckPointStmt, "CHECKPOINT", NOT_REPLICATED, LOCAL),
	CLASS(VariableSetStmt, "SET, RESET", NOT_REPLICATED,
		  "a statement brings the settings along that it depends on"),
	CLASS(VariableShowStmt, "SHOW", NOT_REPLICATED, SESSION),
	CLASS(DiscardStmt, "DISCARD", NOT_REPLICATED, SESSION),
	CLASS(LoadStmt, "LOAD", NOT_REPLICATED, SESSION),
	CLASS(LockStmt, "LOCK", NOT_REPLICATED, SESSION),
	CLASS(ConstraintsSetStmt, "SET CONSTRAINTS", NOT_REPLICATED, SESSION),
	CLASS(PrepareStmt, "PREPARE", NOT_REPLICATED, SESSION),
	CLASS(DeallocateStmt, "DEALLOCATE", NOT_REPLICATED, SESSION),
	CLASS(DeclareCursorStmt, "DECLARE", NOT_REPLICATED, SESSION),
	CLASS(FetchStmt, "FETCH, MOVE", NOT_REPLICATED, SESSION),
	CLASS(ClosePortalStmt, "CLOSE", NOT_REPLICATED, SESSION),
	CLASS(NotifyStmt, "NOTIFY", NOT_REPLICATED, SESSION),
	CLASS(ListenStmt, "LISTEN", NOT_REPLICATED, SESSION),
	CLASS(UnlistenStmt, "UNLISTEN", NOT_REPLICATED, SESSION),
	FLO_STATEMENTS_SINCE_19(CLASS)
};

bool
flo_ddl_class_travels(NodeTag class)
{
	for (int i = 0; i < lengthof(classes); i++)
		if (classes[i].tag == class)
			return strcmp(classes[i].fate, CARRIED) == 0 || strcmp(classes[i].fate, HELD) == 0;
	return false;
}

bool
flo_ddl_class_defines_tables(NodeTag class)
{
	switch (class)
	{
		case T_CreateStmt:
		case T_CreateTableAsStmt:
		case T_AlterTableStmt:
		case T_RenameStmt:
		case T_AlterObjectSchemaStmt:
			return true;
		default:
			return false;
	}
}

bool
flo_ddl_class_makes_named(NodeTag class)
{
	switch (class)
	{
		case T_IndexStmt:
		case T_CreateSeqStmt:
		case T_CreateDomainStmt:
		case T_AlterDomainStmt:
		case T_CreateEnumStmt:
		case T_CreateRangeStmt:
		case T_CompositeTypeStmt:
		case T_DefineStmt:
		case T_ViewStmt:
		case T_CreateStatsStmt:
		case T_CreateSchemaStmt:
			return true;
		default:
			return flo_ddl_class_defines_tables(class);
	}
}

const FloDdlClass *
flo_ddl_class_row(int n)
{
	return n < lengthof(classes) ? &classes[n] : NULL;
}

const char *
flo_ddl_type_name(ObjectType type)
{
	switch (type)
	{
		case OBJECT_FUNCTION:
			return "function";
		case OBJECT_PROCEDURE:
			return "procedure";
		case OBJECT_ROUTINE:
			return "routine";
		case OBJECT_AGGREGATE:
			return "aggregate";
		case OBJECT_OPERATOR:
			return "operator";
		case OBJECT_COLLATION:
			return "collation";
		case OBJECT_STATISTIC_EXT:
			return "statistics";
		case OBJECT_TRIGGER:
			return "trigger";
		case OBJECT_POLICY:
			return "policy";
		case OBJECT_RULE:
			return "rule";
		case OBJECT_TYPE:
			return "type";
		default:
			return NULL;
	}
}
