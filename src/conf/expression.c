/*
 * expression.c
 *		Expressions over the columns of one table as SQL, without a lock.
 *
 * The server's own way to write a column opens the table and locks it.  Who
 * decodes WAL must not: the transaction that is decoded may still be open, and
 * hold the table against everybody.  So columns go through the server as
 * parameters, and the numbers in its text are replaced by names.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/sysattr.h"
#include "catalog/heap.h"
#include "common/keywords.h"
#include "conf/expression.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/scanner.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

static Node *
with_parameters(Node *node, void *context)
{
	Param	   *param;

	if (node == NULL || !IsA(node, Var))
		return expression_tree_mutator(node, with_parameters, context);
	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = ((Var *) node)->varattno - FirstLowInvalidHeapAttributeNumber;
	param->paramtype = ((Var *) node)->vartype;
	param->paramtypmod = ((Var *) node)->vartypmod;
	param->paramcollid = ((Var *) node)->varcollid;
	param->location = -1;
	return (Node *) param;
}

static const char *
column_name(Oid table, AttrNumber column)
{
	if (column == 0)
		return psprintf("%s.*", quote_identifier(get_rel_name(table)));
	if (column < 0)
		return NameStr(SystemAttributeDefinition(column)->attname);
	return quote_identifier(get_attname(table, column, false));
}

/* Parameters are what begins with a dollar and a digit, outside of quotes */
static char *
with_columns(Oid table, char *text)
{
	core_yy_extra_type extra;
	core_yyscan_t scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	core_YYSTYPE value;
	YYLTYPE		at = 0;
	const char *rest = text;
	StringInfoData buf;

	initStringInfo(&buf);
	while (core_yylex(&value, &at, scanner) != 0)
	{
		char	   *end;
		long		number;

		if (text[at] != '$' || !isdigit((unsigned char) text[at + 1]))
			continue;
		number = strtol(text + at + 1, &end, 10);
		appendBinaryStringInfo(&buf, rest, text + at - rest);
		appendStringInfoString(&buf,
							   column_name(table, number + FirstLowInvalidHeapAttributeNumber));
		rest = end;
	}
	scanner_finish(scanner);
	appendStringInfoString(&buf, rest);
	return buf.data;
}

char *
flo_expression_text(Oid table, Node *expression)
{
	if (!contain_var_clause(expression))
		return deparse_expression(expression, NIL, false, false);
	return with_columns(table,
						deparse_expression(with_parameters(expression, NULL), NIL, false, false));
}
