/*
 * expr.c
 *		SQL expressions over the columns of a row.
 *
 * The server's own parser and planner make an expression tree in which the
 * row's columns are parameters; it is prepared once and then evaluated for
 * each row by the server's executor, without SPI, plan cache or parsing.
 *
 * An expression runs with the rights of the rule's author.  Most consist of
 * the server's own functions, which need no more care than that; where code of
 * users may run (their functions, operators, casts, types, domains, and what a
 * function of the server's finds by a name), the settings it changes are undone, and
 * it can neither write, nor put anything off, nor become anybody else.  Functions that
 * say they are volatile are refused, and so is what an expression alone cannot do:
 * subqueries, aggregates, sets.
 *
 * Names are looked up in pg_catalog only; the caller pins search_path.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "core/harmless.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "shape/expr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define FLO_BEFORE_EXPRESSION "SELECT "

/* While columns are being found */
typedef struct FloScope
{
	FloShapeColumns *columns;
	List	   *used;			/* numbers of columns, as $1, $2, ... */
} FloScope;

typedef struct FloFunctions
{
	bool		guarded;
	bool		reads;			/* some function of a user may read tables */
	List	   *functions;		/* Oid: of users */
} FloFunctions;

void
flo_author_enter(FloAuthor *saved, Oid author, bool guarded)
{
	flo_as_role_enter(&saved->as, author, guarded ? FLO_AS_ROLE_RESTRICTED : FLO_AS_ROLE_BRIEF);
	saved->guarded = guarded;
	saved->pushed_snapshot = false;
	if (!guarded)
		return;
	saved->read_only = XactReadOnly;
	XactReadOnly = true;
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		saved->pushed_snapshot = true;
	}
}

void
flo_author_leave(const FloAuthor *saved)
{
	if (saved->pushed_snapshot)
		PopActiveSnapshot();
	if (saved->guarded)
		XactReadOnly = saved->read_only;
	flo_as_role_leave(&saved->as);
}

/* --- parsing ------------------------------------------------------------- */

/* Positions count from the expression's own beginning */
static void
report_expression(void *arg)
{
	int			position = geterrposition();

	if (position <= (int) strlen(FLO_BEFORE_EXPRESSION))
		return;
	errposition(0);
	internalerrposition(position - (int) strlen(FLO_BEFORE_EXPRESSION));
	internalerrquery((const char *) arg);
}

static void
not_an_expression(const char *text)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("\"%s\" is not an SQL expression", text),
			 errhint("An expression is what can stand between SELECT and FROM, without a subquery.")));
}

/* The raw parse tree, nothing looked up */
static Node *
parse_text(const char *text)
{
	char	   *sql = psprintf(FLO_BEFORE_EXPRESSION "%s", text);
	List	   *list = raw_parser(sql, RAW_PARSE_DEFAULT);
	SelectStmt *select;
	ResTarget  *target;

	if (list_length(list) != 1)
		not_an_expression(text);
	select = (SelectStmt *) linitial_node(RawStmt, list)->stmt;
	if (!IsA(select, SelectStmt) || select->op != SETOP_NONE ||
		list_length(select->targetList) != 1 || select->distinctClause != NIL ||
		select->intoClause != NULL || select->fromClause != NIL ||
		select->whereClause != NULL || select->groupClause != NIL ||
		select->havingClause != NULL || select->windowClause != NIL ||
		select->valuesLists != NIL || select->sortClause != NIL ||
		select->limitOffset != NULL || select->limitCount != NULL ||
		select->lockingClause != NIL || select->withClause != NULL)
		not_an_expression(text);
	target = linitial_node(ResTarget, select->targetList);
	if (target->name != NULL || target->indirection != NIL ||
		(IsA(target->val, ColumnRef) &&
		 IsA(llast(((ColumnRef *) target->val)->fields), A_Star)))
		not_an_expression(text);
	return target->val;
}

void
flo_expr_check_syntax(const char *text)
{
	ErrorContextCallback callback;

	callback.callback = report_expression;
	callback.arg = unconstify(char *, text);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	(void) parse_text(text);
	error_context_stack = callback.previous;
}

/* A column of the row becomes a parameter; NULL when there is no such column */
static Node *
find_column(ParseState *pstate, ColumnRef *ref)
{
	FloScope   *scope = pstate->p_ref_hook_state;
	const FloReader *reader;
	Param	   *param;
	Node	   *field = llast(ref->fields);
	int			number;
	int			position = 0;
	ListCell   *lc;

	if (!IsA(field, String))
		return NULL;
	if (list_length(ref->fields) == 2 &&
		strcmp(strVal(linitial(ref->fields)), scope->columns->relation->name) != 0)
		return NULL;
	if (list_length(ref->fields) > 2)
		return NULL;
	number = flo_columns_need(scope->columns, strVal(field));
	if (number < 0)
		return NULL;

	foreach(lc, scope->used)
	{
		if (lfirst_int(lc) == number)
			break;
		position++;
	}
	if (lc == NULL)
		scope->used = lappend_int(scope->used, number);

	reader = &scope->columns->items[number].reader;
	flo_reader_require_type(reader);
	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = position + 1;
	param->paramtype = reader->type;
	param->paramtypmod = reader->typmod;
	param->paramcollid = reader->collation;
	param->location = ref->location;
	return (Node *) param;
}

static void
refuse_volatile(const char *text, Node *node)
{
	if (contain_volatile_functions(node))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("expression \"%s\" is volatile", text),
				 errhint("A row may be processed more than once and must come out the same: use functions that are immutable or stable.")));
}

static Expr *
analyse(const char *text, bool is_condition, FloScope *scope)
{
	ParseState *pstate = make_parsestate(NULL);
	Node	   *node = parse_text(text);

	pstate->p_sourcetext = psprintf(FLO_BEFORE_EXPRESSION "%s", text);
	pstate->p_pre_columnref_hook = find_column;
	pstate->p_ref_hook_state = scope;
	/* its messages speak of transform expressions, which is what these are */
	node = transformExpr(pstate, node, EXPR_KIND_ALTER_COL_TRANSFORM);
	if (is_condition)
		node = coerce_to_boolean(pstate, node, "WHERE");
	else if (exprType(node) == UNKNOWNOID)
		node = coerce_type(pstate, node, UNKNOWNOID, TEXTOID, -1,
						   COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
	assign_expr_collations(pstate, node);
	free_parsestate(pstate);

	/*
	 * before functions are inlined, and again when defaults of arguments are
	 * there
	 */
	refuse_volatile(text, node);
	return expression_planner((Expr *) node);
}

/* --- what it may do ------------------------------------------------------ */

static bool
look_at_function(Oid function, void *arg)
{
	FloFunctions *found = arg;

	found->guarded |= !flo_function_is_harmless(function);
	if (function >= FirstNormalObjectId)
	{
		found->functions = list_append_unique_oid(found->functions, function);
		if (func_volatile(function) != PROVOLATILE_IMMUTABLE)
			found->reads = true;
	}
	return false;
}

static bool
look_at_node(Node *node, void *arg)
{
	FloFunctions *found = arg;

	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, look_at_function, arg);

	/*
	 * a type of users may bring functions of theirs along, wherever a value
	 * of it goes
	 */
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
			found->guarded |= exprType(node) >= FirstNormalObjectId;
			break;
		case T_CoerceToDomain:
		case T_ArrayCoerceExpr:
			found->guarded = true;
			break;
		case T_CoerceViaIO:
		case T_ConvertRowtypeExpr:
		case T_MinMaxExpr:
		case T_RowExpr:
		case T_RowCompareExpr:
			found->guarded |= exprType(node) >= FirstNormalObjectId ||
				exprType(node) == RECORDOID ||
				IsA(node, RowCompareExpr);
			break;
		default:
			break;
	}
	return expression_tree_walker(node, look_at_node, arg);
}

static void
check_expression(const char *text, Expr *expr, bool decoding, FloFunctions *found)
{
	refuse_volatile(text, (Node *) expr);
	if (expression_returns_set((Node *) expr))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("expression \"%s\" returns a set", text)));
	if (get_typtype(exprType((Node *) expr)) == TYPTYPE_PSEUDO &&
		exprType((Node *) expr) != RECORDOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("expression \"%s\" has the pseudo-type %s", text,
						format_type_be(exprType((Node *) expr)))));
	(void) look_at_node((Node *) expr, found);
	if (decoding && found->reads)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("expression \"%s\" calls a user's function that is not immutable", text),
				 errhint("Where the replicator executes rules, tables cannot be read: declare the function IMMUTABLE if it is, or let the worker execute the rule.")));
}

static FloExpr *
prepare(Expr *tree, FloScope *scope)
{
	FloExpr    *expr = palloc0(sizeof(FloExpr));
	Oid			function;
	bool		is_varlena;
	ListCell   *lc;

	expr->ncolumns = list_length(scope->used);
	expr->columns = palloc(Max(expr->ncolumns, 1) * sizeof(int));
	expr->values = makeParamList(expr->ncolumns);
	foreach(lc, scope->used)
	{
		int			i = foreach_current_index(lc);

		expr->columns[i] = lfirst_int(lc);
		expr->values->params[i].value = (Datum) 0;
		expr->values->params[i].isnull = true;
		expr->values->params[i].pflags = 0;
		expr->values->params[i].ptype = scope->columns->items[lfirst_int(lc)].reader.type;
	}
	expr->type = exprType((Node *) tree);
	expr->result_is_text = expr->type == TEXTOID || expr->type == VARCHAROID;
	getTypeOutputInfo(expr->type, &function, &is_varlena);
	fmgr_info(function, &expr->output);
	expr->state = ExecInitExprWithParams(tree, expr->values);
	expr->context = CreateStandaloneExprContext();
	expr->context->ecxt_param_list_info = expr->values;
	return expr;
}

FloExpr *
flo_expr_compile(const char *text, bool is_condition, Oid author, bool decoding,
				 FloShapeColumns *columns)
{
	FloScope	scope = {columns, NIL};
	FloFunctions found = {0};
	ErrorContextCallback callback;
	FloAuthor	saved;
	Expr	   *tree;
	FloExpr    *expr;

	callback.callback = report_expression;
	callback.arg = unconstify(char *, text);
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	/* constants and immutable functions are evaluated here already */
	flo_author_enter(&saved, author, true);
	tree = analyse(text, is_condition, &scope);
	check_expression(text, tree, decoding, &found);
	columns->functions = list_concat_unique_oid(columns->functions, found.functions);
	expr = prepare(tree, &scope);
	flo_author_leave(&saved);

	expr->author = author;
	expr->guarded = found.guarded;
	for (int i = 0; i < expr->ncolumns; i++)
		expr->guarded |= !columns->items[expr->columns[i]].reader.builtin;
	error_context_stack = callback.previous;
	return expr;
}

static void
refuse_column(const char *text, const char *kind)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("expression \"%s\" uses a %s column", text, kind)));
}

/* What is not stored with the row, as it is read here */
static void
refuse_columns(const char *text, Node *node, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *columns = NULL;
	int			column = -1;
	bool		whole;

	pull_varattnos(node, 1, &columns);
	whole = bms_is_member(-FirstLowInvalidHeapAttributeNumber, columns);
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		if (column + FirstLowInvalidHeapAttributeNumber < 0)
			refuse_column(text, "system");
	}
	for (int i = 0; i < desc->natts; i++)
	{
		/* from 18 on */
		if (TupleDescAttr(desc, i)->attgenerated == 'v' &&
			(whole || bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, columns)))
			refuse_column(text, "virtual generated");
	}
}

Expr *
flo_expr_condition(const char *text, Oid author, Relation rel, bool *guarded, bool *fixed)
{
	FloFunctions found = {0};
	ErrorContextCallback callback;
	FloAuthor	saved;
	ParseState *pstate = make_parsestate(NULL);
	Node	   *node;
	Expr	   *tree;

	callback.callback = report_expression;
	callback.arg = unconstify(char *, text);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	flo_author_enter(&saved, author, true);
	node = parse_text(text);
	pstate->p_sourcetext = psprintf(FLO_BEFORE_EXPRESSION "%s", text);
	addNSItemToQuery(pstate, addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL,
														   false, false), false, true, true);
	node = coerce_to_boolean(pstate, transformExpr(pstate, node, EXPR_KIND_COPY_WHERE), "WHERE");
	assign_expr_collations(pstate, node);
	free_parsestate(pstate);
	refuse_volatile(text, node);
	refuse_columns(text, node, rel);
	tree = expression_planner((Expr *) node);
	check_expression(text, tree, false, &found);
	flo_author_leave(&saved);
	error_context_stack = callback.previous;
	*guarded = found.guarded;
	*fixed = !contain_mutable_functions((Node *) tree);
	return tree;
}

Datum
flo_expr_evaluate(FloExpr *expr, bool *isnull)
{
	ResetExprContext(expr->context);
	return ExecEvalExprSwitchContext(expr->state, expr->context, isnull);
}
