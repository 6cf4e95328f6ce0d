/*
 * ddl_trust.c
 *		What in a DDL statement of the source can do no harm to whom it runs as.
 *
 * Whoever owns a table at the source writes its defaults, checks, indexes; here
 * these run as the table's owner, when the statement runs and whenever rows
 * come.  So the names in them are looked up before any of it runs:
 *
 * - A function has to be immutable and built in, or one of a list of harmless
 *   others, or immutable and owned by a trusted role.  All functions of that
 *   name are looked at, whatever their arguments: which of them is called
 *   depends on types, which the source chooses.
 * - The same for operators, where stable ones are harmless, too.
 * - A type has to be built in or owned by a trusted role: domains have checks,
 *   ranges functions, and casts from and to a type are its owner's.
 * - Only kinds of nodes that are known pass.  Whatever a later server's parser
 *   comes up with is held until somebody has thought about it.
 *
 * Names are looked up along the trusted part of the source's search_path.
 * Whether one might have been found in the rest of it is looked at, too: then
 * somebody may have put it there to be found (CVE-2018-1058).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "conf/choice.h"
#include "conf/tables.h"
#include "core/compat_acl.h"
#include "core/compat_name.h"
#include "core/harmless.h"
#include "dest/ddl_targets.h"
#include "dest/ddl_trust.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

/* Harmless ones that are not immutable, of contrib: C functions of a superuser */
static const char *const harmless_extensions[] = {
	"gen_random_uuid", "unaccent", "uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4"
};

void
flo_ddl_distrust(FloDdlTrust *trust, const char *format,...)
{
	StringInfoData text;
	int			needed;

	if (trust->reason != NULL)
		return;
	initStringInfo(&text);
	do
	{
		va_list		args;

		va_start(args, format);
		needed = appendStringInfoVA(&text, format, args);
		va_end(args);
		if (needed > 0)
			enlargeStringInfo(&text, needed);
	} while (needed > 0);
	trust->reason = text.data;
}

/* --- roles and schemas --------------------------------------------------- */

bool
flo_ddl_role_is_trusted(const FloDdlTrust *trust, Oid role)
{
	role = flo_ddl_actual_role(role);
	return OidIsValid(role) &&
		(role == trust->worker_owner || role == trust->runs_as || superuser_arg(role));
}

bool
flo_ddl_schema_is_trusted(const FloDdlTrust *trust, Oid schema)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	bool		trusted;
	Datum		acl;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return false;
	trusted = flo_ddl_role_is_trusted(trust, ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner);
	acl = SysCacheGetAttr(NAMESPACEOID, tuple, Anum_pg_namespace_nspacl, &isnull);
	if (!isnull)
	{
		Acl		   *list = DatumGetAclP(acl);

		for (int i = 0; i < ACL_NUM(list); i++)
		{
			AclItem    *item = &ACL_DAT(list)[i];

			if (ACLITEM_GET_PRIVS(*item) & ACL_CREATE)
				trusted &= item->ai_grantee != ACL_ID_PUBLIC &&
					flo_ddl_role_is_trusted(trust, item->ai_grantee);
		}
	}
	ReleaseSysCache(tuple);
	return trusted;
}

static void
add_schema(FloDdlTrust *trust, const char *name)
{
	FloDdlSchema *schema;
	Oid			oid = get_namespace_oid(name, true);

	/*
	 * who may not look into a schema finds nothing in it, as if it were not
	 * there
	 */
	if (!OidIsValid(oid) || !flo_compat_schema_allows(oid, trust->runs_as, ACL_USAGE))
		return;
	schema = palloc0(sizeof(FloDdlSchema));
	schema->oid = oid;
	schema->name = pstrdup(name);
	schema->trusted = flo_ddl_schema_is_trusted(trust, oid);
	trust->schemas = lappend(trust->schemas, schema);
}

char *
flo_ddl_trusted_path(FloDdlTrust *trust, const char *search_path)
{
	List	   *names = NIL;
	ListCell   *cell;
	bool		has_catalog = false;
	StringInfoData path;

	trust->schemas = NIL;
	if (search_path != NULL)
		(void) SplitIdentifierString(pstrdup(search_path), ',', &names);
	foreach(cell, names)
		has_catalog |= strcmp(lfirst(cell), "pg_catalog") == 0;
	if (!has_catalog)
		add_schema(trust, "pg_catalog");
	foreach(cell, names)
	{
		if (strncmp(lfirst(cell), "pg_temp", 7) != 0)
			add_schema(trust, lfirst(cell));
	}

	/* the first one is where objects without a schema go: not pg_temp */
	initStringInfo(&path);
	foreach(cell, trust->schemas)
	{
		FloDdlSchema *schema = lfirst(cell);

		if (schema->trusted && (has_catalog || schema->oid != PG_CATALOG_NAMESPACE))
			appendStringInfo(&path, "%s, ", quote_identifier(schema->name));
	}
	if (path.len == 0)
		appendStringInfoString(&path, "pg_catalog, ");
	appendStringInfoString(&path, "pg_temp");
	return path.data;
}

static void
distrust_schema(FloDdlTrust *trust, const char *what, const char *name, const FloDdlSchema *schema)
{
	flo_ddl_distrust(trust, "%s \"%s\" may be one of schema \"%s\", where others than trusted roles can create objects",
					 what, name, schema->name);
}

/* What has a name on the path: the schema where it is found first, NULL for nowhere */
typedef Oid (*Finder) (const char *name, Oid schema);

static FloDdlSchema *
find_on_path(FloDdlTrust *trust, const char *name, Finder finder, Oid *found)
{
	ListCell   *cell;

	foreach(cell, trust->schemas)
	{
		FloDdlSchema *schema = lfirst(cell);

		*found = finder(name, schema->oid);
		if (OidIsValid(*found))
			return schema;
	}
	return NULL;
}

/* --- types --------------------------------------------------------------- */

static Oid
find_type(const char *name, Oid schema)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
						   ObjectIdGetDatum(schema));
}

static bool
type_is_trusted(const FloDdlTrust *trust, Oid type)
{
	Oid			element = get_base_element_type(type);

	if (OidIsValid(element))
		type = element;
	return type < FirstNormalObjectId || flo_ddl_role_is_trusted(trust, flo_ddl_type_owner(type));
}

static void
distrust_type(FloDdlTrust *trust, Oid type)
{
	flo_ddl_distrust(trust, "type %s is owned by role \"%s\", who decides what its values run",
					 format_type_be(type), GetUserNameFromId(flo_ddl_type_owner(type), true));
}

static bool
is_serial(const char *name)
{
	static const char *const names[] = {
		"smallserial", "serial2", "serial", "serial4", "bigserial", "serial8"
	};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

void
flo_ddl_check_type(FloDdlTrust *trust, TypeName *name)
{
	Oid			type;

	if (name == NULL || trust->reason != NULL)
		return;
	if (name->setof || name->pct_type)
	{
		flo_ddl_distrust(trust, "it takes a type from elsewhere");
		return;
	}
	if (list_length(name->names) == 1)
	{
		const char *word = strVal(linitial(name->names));
		FloDdlSchema *schema;

		if (is_serial(word))
			return;
		schema = find_on_path(trust, word, find_type, &type);
		if (schema == NULL)
			return;				/* an error of the statement's */
		if (!schema->trusted)
		{
			if (!type_is_trusted(trust, type))
				distrust_schema(trust, "type", word, schema);
			name->names = list_make2(makeString(schema->name), linitial(name->names));
		}
	}
	else
		type = LookupTypeNameOid(NULL, name, true);
	if (OidIsValid(type) && !type_is_trusted(trust, type))
		distrust_type(trust, type);
	flo_ddl_check_expression(trust, (Node *) name->typmods);
}

/* --- functions and operators --------------------------------------------- */

static bool
is_listed(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* "stable_too" for what is called by an operator */
static bool
function_is_harmless(const FloDdlTrust *trust, Oid function, bool stable_too)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	bool		calm;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	calm = form->provolatile == PROVOLATILE_IMMUTABLE ||
		(stable_too && form->provolatile == PROVOLATILE_STABLE);
	if (function < FirstNormalObjectId)
		result = calm || flo_function_is_harmless(function);
	else
		result = flo_ddl_role_is_trusted(trust, form->proowner) &&
			(calm || (form->prolang == ClanguageId && superuser_arg(form->proowner) &&
					  is_listed(NameStr(form->proname), harmless_extensions,
								lengthof(harmless_extensions))));
	ReleaseSysCache(tuple);
	return result;
}

static void
check_candidates(FloDdlTrust *trust, FuncCandidateList candidates, bool operators, const char *name)
{
	for (; candidates != NULL; candidates = candidates->next)
	{
		Oid			function = operators ? get_opcode(candidates->oid) : candidates->oid;

		if (!function_is_harmless(trust, function, operators))
			flo_ddl_distrust(trust, "%s \"%s\" is not one of those that are immutable and built in or owned by a trusted role",
							 operators ? "operator" : "function", name);
	}
}

static FuncCandidateList
candidates_of(List *names, bool operators)
{
	return operators ? flo_compat_operators_named(names) : flo_compat_functions_named(names);
}

static void
check_called(FloDdlTrust *trust, List *names, bool operators)
{
	const char *name = strVal(llast(names));
	ListCell   *cell;

	if (trust->reason != NULL)
		return;
	check_candidates(trust, candidates_of(names, operators), operators, name);
	if (list_length(names) > 1)
		return;
	foreach(cell, trust->schemas)
	{
		FloDdlSchema *schema = lfirst(cell);

		if (!schema->trusted &&
			candidates_of(list_make2(makeString(schema->name), linitial(names)), operators) != NULL)
			distrust_schema(trust, operators ? "operator" : "function", name, schema);
	}
}

void
flo_ddl_check_operator(FloDdlTrust *trust, List *names)
{
	check_called(trust, names, true);
}

static void
check_operator_named(FloDdlTrust *trust, char *name)
{
	check_called(trust, list_make1(makeString(name)), true);
}

static char *
text_constant(Node *node)
{
	return node != NULL && IsA(node, A_Const) && !((A_Const *) node)->isnull &&
		IsA(&((A_Const *) node)->val, String) ? strVal(&((A_Const *) node)->val) : NULL;
}

/* A constant that names a relation, with its schema from here on; NULL where it does not */
static RangeVar *
check_relation_constant(FloDdlTrust *trust, Node *node)
{
	const char *text = text_constant(node);
	RangeVar   *relation;

	if (text == NULL)
		return NULL;
	relation = makeRangeVarFromNameList(flo_compat_qualified_names(text));
	flo_ddl_check_relation(trust, relation, false);
	if (relation->schemaname != NULL)
		((A_Const *) node)->val.sval.sval =
			quote_qualified_identifier(relation->schemaname, relation->relname);
	return relation;
}

/* The sequence of nextval('...'), which must be a constant; its owner has to be trusted */
static void
check_nextval(FloDdlTrust *trust, FuncCall *call)
{
	Node	   *argument = list_length(call->args) == 1 ? linitial(call->args) : NULL;
	RangeVar   *sequence;

	/*
	 * as text it would be looked up at each call, and nothing would depend on
	 * it
	 */
	if (argument != NULL && IsA(argument, TypeCast) &&
		strcmp(strVal(llast(((TypeCast *) argument)->typeName->names)), "regclass") == 0)
		argument = ((TypeCast *) argument)->arg;
	sequence = check_relation_constant(trust, argument);
	if (sequence == NULL)
		flo_ddl_distrust(trust, "it calls nextval() for a sequence that is no constant");
	else
		trust->sequences = flo_ddl_add_relation_target(trust->sequences, sequence);
}

/*
 * 'name'::regclass and its like are looked up where the statement runs, so along the trusted
 * part of the path.  What a relation or a text search configuration of that name is, is
 * known, unless the statement makes it; all others, which are rare, may be in the rest.
 */
static bool
may_be_in(const FloDdlSchema *schema, const char *type, const char *text)
{
	if (strcmp(type, "regconfig") != 0)
		return true;
	return OidIsValid(get_ts_config_oid(list_concat(list_make1(makeString(schema->name)),
													flo_compat_qualified_names(text)), true));
}

static void
check_name_constant(FloDdlTrust *trust, TypeCast *cast)
{
	static const char *const types[] = {
		"regclass", "regcollation", "regconfig", "regdictionary", "regoper", "regoperator", "regproc",
		"regprocedure", "regtype"
	};
	const char *type = strVal(llast(cast->typeName->names));
	const char *text = text_constant(cast->arg);
	ListCell   *cell;

	/* an OID, none, or with a schema */
	if (text == NULL || !is_listed(type, types, lengthof(types)) ||
		strspn(text, "0123456789-") == strlen(text) || strchr(text, '.') != NULL)
		return;
	if (strcmp(type, "regclass") == 0 &&
		check_relation_constant(trust, cast->arg)->schemaname != NULL)
		return;
	foreach(cell, trust->schemas)
	{
		FloDdlSchema *schema = lfirst(cell);

		if (!schema->trusted && may_be_in(schema, type, text))
			distrust_schema(trust, "name", text, schema);
	}
}

/* A function, or a type whose name is written like one's */
static void
check_call(FloDdlTrust *trust, FuncCall *call)
{
	const char *name = strVal(llast(call->funcname));
	bool		qualified = list_length(call->funcname) > 1;

	if (strcmp(name, "nextval") == 0 &&
		(!qualified || strcmp(strVal(linitial(call->funcname)), "pg_catalog") == 0))
	{
		call->funcname = list_make2(makeString("pg_catalog"), makeString("nextval"));
		check_nextval(trust, call);
		return;
	}
	check_called(trust, call->funcname, false);
	if (!qualified && candidates_of(call->funcname, false) == NULL)
		flo_ddl_check_type(trust, makeTypeNameFromNameList(list_copy(call->funcname)));
}

/* a.b and (a).b may be b(a) */
static void
check_selection(FloDdlTrust *trust, List *fields)
{
	ListCell   *cell;

	foreach(cell, fields)
	{
		if (IsA(lfirst(cell), String))
			check_called(trust, list_make1(lfirst(cell)), false);
	}
}

/* --- relations ----------------------------------------------------------- */

static Oid
find_relation(const char *name, Oid schema)
{
	return get_relname_relid(name, schema);
}

/* A column whose type is not trusted; 0 = there is none */
static Oid
untrusted_column(const FloDdlTrust *trust, Oid relid)
{
	Relation	relation = table_open(relid, AccessShareLock);
	Oid			type = InvalidOid;

	for (int i = 0; i < RelationGetNumberOfAttributes(relation); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(relation), i);

		if (!att->attisdropped && !type_is_trusted(trust, att->atttypid))
			type = att->atttypid;
	}
	table_close(relation, AccessShareLock);
	return type;
}

void
flo_ddl_check_relation(FloDdlTrust *trust, RangeVar *name, bool keys)
{
	Oid			relation;
	bool		trusted;

	if (name == NULL || trust->reason != NULL)
		return;
	if (name->schemaname == NULL)
	{
		FloDdlSchema *schema = find_on_path(trust, name->relname, find_relation, &relation);

		if (schema == NULL)
			return;
		if (!schema->trusted && !flo_ddl_role_is_trusted(trust, flo_ddl_relation_owner(relation)))
			distrust_schema(trust, "relation", name->relname, schema);
		name->schemaname = schema->name;
	}
	else
		relation = RangeVarGetRelid(name, NoLock, true);
	if (!OidIsValid(relation) || trust->reason != NULL)
		return;
	trusted = flo_ddl_role_is_trusted(trust, flo_ddl_relation_owner(relation));
	if (!trusted && keys && flo_tables_is_kind(get_rel_relkind(relation)))
		trusted = !OidIsValid(untrusted_column(trust, relation));
	if (!trusted)
		flo_ddl_distrust(trust, "relation \"%s\" is owned by role \"%s\", who decides what runs when it is used",
						 name->relname, GetUserNameFromId(flo_ddl_relation_owner(relation), true));
}

/* --- collations, operator classes ---------------------------------------- */

void
flo_ddl_check_collation(FloDdlTrust *trust, List *names)
{
	ListCell   *cell;

	if (list_length(names) != 1)
		return;
	foreach(cell, trust->schemas)
	{
		FloDdlSchema *schema = lfirst(cell);

		if (OidIsValid(get_collation_oid(list_make2(makeString(schema->name), linitial(names)),
										 true)))
		{
			if (!schema->trusted)
				distrust_schema(trust, "collation", strVal(linitial(names)), schema);
			return;
		}
	}
}

void
flo_ddl_check_opclass(FloDdlTrust *trust, List *names, const char *access_method)
{
	Oid			method = get_index_am_oid(access_method != NULL ? access_method : "btree", true);
	ListCell   *cell;
	Oid			opclass;

	if (names == NIL || !OidIsValid(method))
		return;
	if (list_length(names) == 1)
		foreach(cell, trust->schemas)
	{
		FloDdlSchema *schema = lfirst(cell);

		if (!schema->trusted &&
			OidIsValid(get_opclass_oid(method, list_make2(makeString(schema->name),
														  linitial(names)), true)))
			distrust_schema(trust, "operator class", strVal(linitial(names)), schema);
	}
	opclass = get_opclass_oid(method, names, true);
	if (OidIsValid(opclass) && opclass >= FirstNormalObjectId &&
		!flo_ddl_role_is_trusted(trust, flo_ddl_owner(OperatorClassRelationId, opclass)))
		flo_ddl_distrust(trust, "operator class \"%s\" is not owned by a trusted role",
						 strVal(llast(names)));
}

/* --- expressions --------------------------------------------------------- */

/* Operators that the parser makes of other constructions */
static void
check_operators(FloDdlTrust *trust, A_Expr *expression)
{
	static const char *const comparisons[] = {"=", "<", ">", "<=", ">="};

	switch (expression->kind)
	{
		case AEXPR_BETWEEN:
		case AEXPR_NOT_BETWEEN:
		case AEXPR_BETWEEN_SYM:
		case AEXPR_NOT_BETWEEN_SYM:
			for (int i = 0; i < lengthof(comparisons); i++)
				check_operator_named(trust, unconstify(char *, comparisons[i]));
			break;
		default:
			check_called(trust, expression->name, true);
			break;
	}
}

/* Kinds of nodes that are looked at above or below, or hold nothing but others and values */
static bool
is_known(const FloDdlTrust *trust, Node *node)
{
	switch (nodeTag(node))
	{
		case T_List:
		case T_A_Const:
		case T_A_ArrayExpr:
		case T_A_Expr:
		case T_A_Indices:
		case T_A_Indirection:
		case T_A_Star:
		case T_BitString:
		case T_Boolean:
		case T_BooleanTest:
		case T_BoolExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CoalesceExpr:
		case T_CollateClause:
		case T_Float:
		case T_FuncCall:
		case T_Integer:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_RowExpr:
		case T_SQLValueFunction:
		case T_String:
		case T_TypeCast:
		case T_XmlExpr:
		case T_XmlSerialize:
			return true;
		case T_Alias:
		case T_CommonTableExpr:
		case T_GroupingFunc:
		case T_GroupingSet:
		case T_JoinExpr:
		case T_RangeFunction:
		case T_RangeSubselect:
		case T_ResTarget:
		case T_SelectStmt:
		case T_SortBy:
		case T_SubLink:
		case T_WindowDef:
		case T_WithClause:
			return trust->in_query;
		default:
			return false;
	}
}

/*
 * One node of a raw expression, and those below; true ends the walk.  Kinds that
 * return by themselves hold names, not expressions, so nothing below them is to be
 * walked.  Whether the kind is known is asked last: one that is looked at here and
 * missing there is held, not passed.
 */
static bool
check_node(Node *node, void *context)
{
	FloDdlTrust *trust = context;

	if (node == NULL || trust->reason != NULL)
		return trust->reason != NULL;
	switch (nodeTag(node))
	{
		case T_A_Expr:
			check_operators(trust, (A_Expr *) node);
			break;
		case T_A_Indirection:
			check_selection(trust, ((A_Indirection *) node)->indirection);
			break;
		case T_ColumnRef:
			check_selection(trust, list_copy_tail(((ColumnRef *) node)->fields, 1));
			return trust->reason != NULL;
		case T_SortBy:
			if (((SortBy *) node)->useOp != NIL)
				check_called(trust, ((SortBy *) node)->useOp, true);
			break;
		case T_JoinExpr:
			check_operator_named(trust, "=");
			break;
		case T_CaseExpr:
			if (((CaseExpr *) node)->arg != NULL)
				check_operator_named(trust, "=");
			break;
		case T_CollateClause:
			flo_ddl_check_collation(trust, ((CollateClause *) node)->collname);
			break;
		case T_FuncCall:
			check_call(trust, (FuncCall *) node);
			break;
		case T_TypeCast:
			check_name_constant(trust, (TypeCast *) node);
			break;
		case T_TypeName:
			flo_ddl_check_type(trust, (TypeName *) node);
			return trust->reason != NULL;
		case T_RangeVar:
			if (!trust->in_query)
				flo_ddl_distrust(trust, "it reads a table in an expression");
			flo_ddl_check_relation(trust, (RangeVar *) node, false);
			return trust->reason != NULL;
		case T_SubLink:
			if (!trust->in_query)
				flo_ddl_distrust(trust, "it holds a subquery");
			else if (((SubLink *) node)->operName != NIL)
				check_called(trust, ((SubLink *) node)->operName, true);
			else
				check_operator_named(trust, "=");
			break;
		default:
			break;
	}
	if (!is_known(trust, node))
		flo_ddl_distrust(trust, "it holds an expression of a kind that is not known to do no harm");
	return trust->reason != NULL || raw_expression_tree_walker(node, check_node, context);
}

void
flo_ddl_check_expression(FloDdlTrust *trust, Node *expression)
{
	Oid			type;

	if (expression == NULL || trust->reason != NULL)
		return;
	(void) check_node(expression, trust);
	if (trust->reason != NULL || IsA(expression, A_Const) || !OidIsValid(trust->table) ||
		!flo_tables_is_kind(get_rel_relkind(trust->table)))
		return;

	/* casts and operators of columns' types come with the types */
	type = untrusted_column(trust, trust->table);
	if (OidIsValid(type))
		distrust_type(trust, type);
}

void
flo_ddl_check_query(FloDdlTrust *trust, Node *query)
{
	trust->in_query = true;
	(void) check_node(query, trust);
	trust->in_query = false;
}
