/*
 * ddl_rewrites.c
 *		Rewrites of a table whose result its rows do not determine.
 *
 * A new column's default or generation expression, or the expression of ALTER
 * COLUMN TYPE - which without USING is a cast - is evaluated for the rows that
 * are there.  It gives the same at the source and here when it depends on nothing
 * but the row: random values, sequences, the time, the user, the order of columns,
 * and what OIDs stand for do not qualify.
 *
 * Conversions between types read settings, also those whose functions call
 * themselves immutable.  Each such setting travels with the statement, so
 * conversions do qualify, but for what settings only point to: a locale for
 * money, files of time zone abbreviations.  The locale of the database itself
 * decides about case, order and the classes of regular expressions.
 *
 * A table without rows has nothing that could differ.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "conf/partition.h"
#include "conf/sql.h"
#include "conf/tables.h"
#include "core/compat_table.h"
#include "core/types.h"
#include "dest/ddl_rewrites.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* Words that input functions turn into the time of the moment */
#define WORDS_FOR_THE_MOMENT "now|today|tomorrow|yesterday"

/* Has the table, or a partition of it, any row for which the condition holds? */
static bool
has_rows(Oid relation, const char *condition)
{
	char	   *query = psprintf("SELECT 1 FROM %s WHERE %s LIMIT 1",
								 flo_tables_name(relation), condition);

	return flo_sql_do(SPI_OK_SELECT, query, 0) > 0;
}

/* Is there a text that could be read as the time of the moment? */
static bool
rows_name_the_moment(Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);
	StringInfoData condition;

	initStringInfo(&condition);
	appendStringInfoString(&condition, "false");
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid			type = getBaseType(att->atttypid);

		if (!att->attisdropped &&
			(type == TEXTOID || type == VARCHAROID || type == BPCHAROID || type == TEXTARRAYOID))
			appendStringInfo(&condition,
							 " OR %s::pg_catalog.text OPERATOR(pg_catalog.~*) '\\m(%s)'",
							 quote_identifier(NameStr(att->attname)), WORDS_FOR_THE_MOMENT);
	}
	return has_rows(RelationGetRelid(relation), condition.data);
}

/* --- expressions --------------------------------------------------------- */

static bool
is_not_immutable(Oid function, void *context)
{
	return func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

static bool
is_volatile(Oid function, void *context)
{
	return func_volatile(function) == PROVOLATILE_VOLATILE;
}

/* What is looked for, and what was found */
typedef struct Look
{
	const FloDdlStatement *ddl;
	List	   *commands;		/* of the statement */
	char	   *on;				/* what the expression depends on, in words;
								 * NULL: its own functions */
	bool		makes_times;	/* it has constants of times, or makes times
								 * of values */
	bool		reads_times;	/* it makes them of texts in the rows */
} Look;

static const char *
setting_there(const FloDdlStatement *ddl, const char *name)
{
	for (int i = 0; i < FLO_DDL_SETTINGS; i++)
		if (strcmp(flo_ddl_settings[i], name) == 0)
			return ddl->settings[i];
	return NULL;
}

/* Is it a type, or made of one, that "is" says yes to? */
static bool
is_made_of(Oid type, bool (*is) (Oid type))
{
	Oid			element;
	TupleDesc	desc;
	bool		found = false;

	type = getBaseType(type);
	if (is(type))
		return true;
	if (OidIsValid(element = get_element_type(type)) ||
		OidIsValid(element = get_range_subtype(type)))
		return is_made_of(element, is);
	if (OidIsValid(element = get_multirange_range(type)))
		return is_made_of(element, is);
	if (get_typtype(type) != TYPTYPE_COMPOSITE)
		return false;
	desc = lookup_rowtype_tupdesc(type, -1);
	for (int i = 0; i < desc->natts && !found; i++)
		found = !TupleDescAttr(desc, i)->attisdropped &&
			is_made_of(TupleDescAttr(desc, i)->atttypid, is);
	ReleaseTupleDesc(desc);
	return found;
}

static bool
is_money(Oid type)
{
	return type == MONEYOID;
}

/* Texts of these name a zone, or leave it out */
static bool
is_zoned(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMETZOID;
}

static bool
is_time(Oid type)
{
	return is_zoned(type) || type == TIMESTAMPOID || type == DATEOID || type == TIMEOID;
}

static bool
is_timetz(Oid type)
{
	return type == TIMETZOID;
}

static bool
is_text(Oid type)
{
	char		category;
	bool		preferred;

	get_type_category_preferred(type, &category, &preferred);
	return category == TYPCATEGORY_STRING || type == UNKNOWNOID;
}

/*
 * A value of one type becomes one of another; for a constant they are the same.
 * False when settings that travel decide it.
 */
static bool
conversion_depends(Look *look, Oid from, Oid to, bool constant)
{
	const char *monetary = setting_there(look->ddl, "lc_monetary");
	const char *zone = setting_there(look->ddl, "TimeZone");
	const char *abbreviations = setting_there(look->ddl, "timezone_abbreviations");

	if (is_made_of(to, is_time))
	{
		look->makes_times = true;
		look->reads_times |= !constant && is_made_of(from, is_text);
	}

	/* a constant that names an object is that object, here as well */
	if (!constant &&
		(is_made_of(from, flo_type_names_object) || is_made_of(to, flo_type_names_object)))
		look->on = "OIDs and the search_path";
	else if ((is_made_of(from, is_money) || is_made_of(to, is_money)) && monetary != NULL &&
			 strcmp(monetary, "C") != 0 && strcmp(monetary, "POSIX") != 0)
		look->on = psprintf("lc_monetary (%s)", monetary);
	else if (is_made_of(to, is_zoned) && (constant || is_made_of(from, is_text)) &&
			 abbreviations != NULL && strcmp(abbreviations, "Default") != 0)
		look->on = psprintf("timezone_abbreviations (%s)", abbreviations);
	else if ((is_made_of(from, is_zoned) || is_made_of(to, is_zoned)) && zone != NULL &&
			 pg_strcasecmp(zone, "localtime") == 0)
		look->on = "the time zone of the machine";
	else if (!constant && is_made_of(to, is_timetz) && !is_made_of(from, is_zoned))
		look->on = "the offset of the time zone at the moment";
	return look->on != NULL;
}

/* Functions of text that ask the locale; by how their names begin */
static bool
asks_the_locale(Oid function, void *context)
{
	static const char *const names[] = {
		"lower", "upper", "initcap", "casefold", "regexp_", "textregex", "texticregex",
		"bpcharregex",
		"bpcharicregex", "nameregex", "nameicregex", "texticlike", "texticnlike", "bpcharicl",
		"bpcharicn",
		"nameicl", "nameicn", "text_l", "text_g", "text_smaller", "bpcharl", "bpcharg",
		"bpchar_larger",
		"bpchar_smaller", "to_ts", "plainto_ts", "phraseto_ts", "websearch_to_ts"
	};
	char	   *name = get_func_name(function);

	for (int i = 0; name != NULL && i < lengthof(names); i++)
		if (strncmp(name, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static bool
locale_depends(Look *look, Node *node)
{
	Oid			collation = exprInputCollation(node);
	const char *here;

	if (!OidIsValid(collation))
		return false;
	if (!IsA(node, MinMaxExpr) && !IsA(node, RowCompareExpr) &&
		!check_functions_in_node(node, asks_the_locale, NULL))
		return false;
	here = flo_partition_collation(collation, FLO_BY_RANGE);
	if (here != NULL && strcmp(here, "C") == 0 && collation != DEFAULT_COLLATION_OID)
		return false;
	if (collation != DEFAULT_COLLATION_OID || here == NULL || look->ddl->locale == NULL ||
		strcmp(here, look->ddl->locale) != 0)
		look->on = "the locale";
	return look->on != NULL;
}

static bool
node_depends(Look *look, Node *node)
{
	if (IsA(node, Var) && ((Var *) node)->varattno <= 0)
	{
		look->on = "how the row is stored";
		return true;
	}
	if (IsA(node, Const))
		return !((Const *) node)->constisnull &&
			conversion_depends(look, exprType(node), exprType(node), true);
	if (IsA(node, RelabelType) &&
		flo_type_names_object(exprType((Node *) ((RelabelType *) node)->arg)) !=
		flo_type_names_object(exprType(node)))
		return conversion_depends(look, exprType((Node *) ((RelabelType *) node)->arg),
								  exprType(node), false);
	if (IsA(node, CoerceViaIO))
		return conversion_depends(look, exprType((Node *) ((CoerceViaIO *) node)->arg),
								  exprType(node), false);
	if (IsA(node, ArrayCoerceExpr))
		return conversion_depends(look, exprType((Node *) ((ArrayCoerceExpr *) node)->arg),
								  exprType(node), false);
	if (IsA(node, FuncExpr) && list_length(((FuncExpr *) node)->args) > 0)
	{
		Node	   *first = linitial(((FuncExpr *) node)->args);

		/*
		 * a function of an object that is named in the expression:
		 * to_tsvector('english', x)
		 */
		if (!(IsA(first, Const) && flo_type_names_object(exprType(first))) &&
			conversion_depends(look, exprType(first), exprType(node), false))
			return true;
	}
	return locale_depends(look, node);
}

static bool
depends_on_more(Node *node, void *context)
{
	check_function_callback checker = is_not_immutable;

	if (node == NULL)
		return false;
	if (IsA(node, SQLValueFunction) || IsA(node, NextValueExpr) || IsA(node, SubLink))
		return true;
	if (IsA(node, CoerceViaIO) || IsA(node, ArrayCoerceExpr) || IsA(node, CoerceToDomain) ||
		(IsA(node, FuncExpr) && ((FuncExpr *) node)->funcformat != COERCE_EXPLICIT_CALL &&
		 ((FuncExpr *) node)->funcformat != COERCE_SQL_SYNTAX))
		checker = is_volatile;
	if (check_functions_in_node(node, checker, context) || node_depends(context, node))
		return true;
	return expression_tree_walker(node, depends_on_more, context);
}

/* Is one of the words in it, alone or within the text of an array, a row, a range? */
static bool
has_word_for_the_moment(const char *text)
{
	static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};

	for (const char *at = text; *at != '\0'; at++)
		for (int i = 0; i < lengthof(words); i++)
			if ((at == text || !isalnum((unsigned char) at[-1])) &&
				pg_strncasecmp(at, words[i], strlen(words[i])) == 0)
				return true;
	return false;
}

/* A constant that, read as a time, is that of the moment */
static bool
names_the_moment(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, A_Const))
		return !((A_Const *) node)->isnull && IsA(&((A_Const *) node)->val, String) &&
			has_word_for_the_moment(strVal(&((A_Const *) node)->val));
	return raw_expression_tree_walker(node, names_the_moment, context);
}

/*
 * A column that the statement itself makes, or gives another type, as what
 * generates others finds it: of the type alone, which is all that is looked at.
 */
static Node *
column_to_be(ParseState *pstate, ColumnRef *reference)
{
	const Look *look = pstate->p_ref_hook_state;
	Node	   *name = llast(reference->fields);
	Param	   *value = NULL;
	ListCell   *cell;

	if (!IsA(name, String))
		return NULL;
	foreach(cell, look->commands)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);
		ColumnDef  *column;

		if (command->subtype != AT_AddColumn && command->subtype != AT_AlterColumnType)
			continue;
		column = castNode(ColumnDef, command->def);
		if (column->typeName == NULL ||
			strcmp(command->subtype == AT_AddColumn ? column->colname : command->name,
				   strVal(name)) != 0)
			continue;
		value = makeNode(Param);
		value->paramkind = PARAM_EXTERN;
		value->paramid = 1;
		typenameTypeIdAndMod(pstate, column->typeName, &value->paramtype, &value->paramtypmod);
		value->paramcollid = get_typcollation(value->paramtype);
		value->location = reference->location;
	}
	return (Node *) value;
}

/*
 * Of an expression over the table's columns, or of none, that becomes a value
 * of a type; "raw" NULL: of the column itself, as a cast does it.  The tables and
 * columns that it names are there, or are made by the statement.
 */
static bool
expression_depends(Look *look, Relation relation, Node *raw, const char *text, ParseExprKind kind,
				   Oid type, int32 typmod)
{
	ParseState *pstate = make_parsestate(NULL);
	Node	   *expression;
	Node	   *coerced;
	bool		depends;

	pstate->p_sourcetext = text;
	if (kind == EXPR_KIND_GENERATED_COLUMN)
	{
		pstate->p_pre_columnref_hook = column_to_be;
		pstate->p_ref_hook_state = look;
	}
	if (kind != EXPR_KIND_COLUMN_DEFAULT)
	{
		ParseNamespaceItem *item = addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
																 NULL, false, true);

		addNSItemToQuery(pstate, item, false, true, true);
	}
	expression = transformExpr(pstate, copyObject(raw), kind);
	coerced = coerce_to_target_type(pstate, expression, exprType(expression), type, typmod,
									COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);
	/* where there is no such cast the statement itself says so */
	if (coerced != NULL)
		expression = coerced;
	assign_expr_collations(pstate, expression);
	look->on = NULL;
	look->makes_times = look->reads_times = false;
	depends = depends_on_more(expression, look) ||
		(look->makes_times && names_the_moment(raw, NULL)) ||
		(look->reads_times && rows_name_the_moment(relation));
	free_parsestate(pstate);
	return depends;
}

static char *
on_what(const Look *look)
{
	return look->on != NULL ? psprintf(": it depends on %s", look->on) : pstrdup("");
}

/* --- commands ------------------------------------------------------------ */

static bool
is_serial(const TypeName *type)
{
	static const char *const names[] = {
		"smallserial", "serial2", "serial", "serial4", "bigserial", "serial8"
	};
	const char *name;

	if (list_length(type->names) != 1 || type->arrayBounds != NIL)
		return false;
	name = strVal(linitial(type->names));
	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static char *
new_column_reason(Look *look, Relation relation, ColumnDef *column, const char *text)
{
	Node	   *expression = column->raw_default;
	ParseExprKind kind = EXPR_KIND_COLUMN_DEFAULT;
	Oid			type;
	int32		typmod;
	ListCell   *cell;

	if (column->typeName != NULL && is_serial(column->typeName))
		return psprintf("the rows get numbers for the new column \"%s\" in no certain order",
						column->colname);
	foreach(cell, column->constraints)
	{
		Constraint *constraint = lfirst_node(Constraint, cell);

		if (constraint->contype == CONSTR_IDENTITY)
			return psprintf("the rows get numbers for the new column \"%s\" in no certain order",
							column->colname);
		if (constraint->contype == CONSTR_DEFAULT || constraint->contype == CONSTR_GENERATED)
			expression = constraint->raw_expr;
		if (constraint->contype == CONSTR_GENERATED)
			kind = EXPR_KIND_GENERATED_COLUMN;
	}
	if (column->typeName == NULL)
		return NULL;
	typenameTypeIdAndMod(NULL, column->typeName, &type, &typmod);
	if (expression == NULL)
	{
		Node	   *of_type = get_typdefault(type);

		if (of_type == NULL || !depends_on_more(of_type, look))
			return NULL;
	}
	else if (!expression_depends(look, relation, expression, text, kind, type, typmod))
		return NULL;
	return psprintf("the %s of the new column \"%s\" gives other values here than at the source%s",
					kind == EXPR_KIND_GENERATED_COLUMN ? "expression" : "default", column->colname,
					on_what(look));
}

static char *
new_type_reason(Look *look, Relation relation, AlterTableCmd *command, const char *text)
{
	ColumnDef  *column = castNode(ColumnDef, command->def);
	Node	   *expression = column->raw_default;
	Oid			type;
	int32		typmod;

	if (get_attnum(RelationGetRelid(relation), command->name) <= 0)
		return NULL;
	typenameTypeIdAndMod(NULL, column->typeName, &type, &typmod);
	if (expression == NULL)
	{
		ColumnRef  *itself = makeNode(ColumnRef);

		itself->fields = list_make1(makeString(command->name));
		itself->location = -1;
		expression = (Node *) itself;
	}
	if (!expression_depends(look, relation, expression, text, EXPR_KIND_ALTER_COL_TRANSFORM, type,
							typmod))
		return NULL;
	return psprintf("the %s column \"%s\" gives other values here than at the source%s",
					column->raw_default != NULL ? "USING expression for" : "cast of", command->name,
					on_what(look));
}

/* The values of a column that is generated from now on by another expression */
static char *
new_expression_reason(Look *look, Relation relation, AlterTableCmd *command, const char *text)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(relation), command->name);
	Form_pg_attribute att;

	if (attnum <= 0)
		return NULL;
	att = TupleDescAttr(RelationGetDescr(relation), attnum - 1);
	if (!expression_depends(look, relation, command->def, text, EXPR_KIND_GENERATED_COLUMN,
							att->atttypid, att->atttypmod))
		return NULL;
	return psprintf("the new expression of column \"%s\" gives other values here than at the source%s", command->name, on_what(look));
}

char *
flo_ddl_refused(const FloDdlStatement *ddl, const char *text)
{
	/* what has no constant in it means the same */
	if (strpbrk(text, "'$") == NULL)
		return NULL;
	for (int i = 0; i < FLO_DDL_SETTINGS; i++)
	{
		const char *here = GetConfigOption(flo_ddl_settings[i], true, false);

		if (ddl->settings[i] != NULL && here != NULL && strcmp(here, ddl->settings[i]) != 0)
			return psprintf("the source's %s, \"%s\", is not to be had here, and constants may depend on it",
							flo_ddl_settings[i], ddl->settings[i]);
	}
	return NULL;
}

/* Why the values of a table's rows would be others here */
static char *
rewrite_reason(Look *look, Oid relid, const AlterTableStmt *statement, const char *text)
{
	Relation	relation = table_open(relid, AccessShareLock);
	char	   *reason = NULL;
	ListCell   *cell;

	look->commands = statement->cmds;
	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_AddColumn)
			reason = new_column_reason(look, relation, castNode(ColumnDef, command->def), text);
		else if (command->subtype == AT_AlterColumnType)
			reason = new_type_reason(look, relation, command, text);
		else if (flo_compat_is_set_expression(command->subtype))
			reason = new_expression_reason(look, relation, command, text);
		if (reason != NULL)
			break;
	}
	table_close(relation, NoLock);
	return reason != NULL && has_rows(relid, "true") ? reason : NULL;
}

/* The tables whose rows are of a composite type, and change with it */
static List *
tables_of_type(Oid type)
{
	Relation	class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(class, InvalidOid, false, NULL, 0, NULL);
	List	   *tables = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (((Form_pg_class) GETSTRUCT(tuple))->reloftype == type)
			tables = lappend_oid(tables, ((Form_pg_class) GETSTRUCT(tuple))->oid);
	systable_endscan(scan);
	table_close(class, AccessShareLock);
	return tables;
}

char *
flo_ddl_undetermined(Node *node, const FloDdlStatement *ddl, const char *text)
{
	AlterTableStmt *statement = (AlterTableStmt *) node;
	Look		look = {ddl};
	char	   *reason = NULL;
	List	   *tables;
	Oid			relid;
	ListCell   *cell;

	if (!IsA(node, AlterTableStmt) ||
		(statement->objtype != OBJECT_TABLE && statement->objtype != OBJECT_TYPE))
		return NULL;
	relid = RangeVarGetRelid(statement->relation, AccessShareLock, true);
	if (!OidIsValid(relid))
		return NULL;
	tables = statement->objtype == OBJECT_TABLE ? list_make1_oid(relid) :
		tables_of_type(get_rel_type_id(relid));
	foreach(cell, tables)
	{
		if (reason == NULL)
			reason = rewrite_reason(&look, lfirst_oid(cell), statement, text);
	}
	return reason;
}
