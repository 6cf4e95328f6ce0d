/*
 * rules.c
 *		One rule, compiled for the columns of one table.
 *
 * Compiling looks everything up and finds everything that is wrong; executing
 * a rule is then a pure function of the row.  NULL stays NULL under mask and
 * regex, and makes a comparison fail; an expression sees it like any value.  A
 * value that was not sent is never taken for NULL: a transform of it alone
 * leaves it as it is, whatever else needs it is an error.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/error_context.h"
#include "core/roles.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "shape/fitting.h"
#include "shape/rules.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

/* --- compiling ----------------------------------------------------------- */

/*
 * Whose rights the rule has.  Code of users runs with them, so the author must
 * be somebody who could act as the member's owner anyway.
 */
static Oid
find_author(const FloRuleSpec *spec, const FloRuleOffice *office)
{
	if (!flo_role_exists(spec->author))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the author of rule " INT64_FORMAT ", %s", spec->id,
						flo_role_shown(spec->author)),
				 errhint("Write the rule anew as another role.")));
	if (OidIsValid(office->owner) && !flo_role_can_become(spec->author, office->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the author of rule " INT64_FORMAT ", %s, must not run code in a process of %s",
						spec->id, flo_role_shown(spec->author), flo_role_shown(office->owner)),
				 errhint("Grant the second role to the first, or write the rule anew as another role.")));
	return spec->author;
}

static void
report_missing_column(const FloRuleSpec *spec, const char *column, const FloShapeColumns *columns)
{
	const FloRelation *relation = columns->relation;

	if (flo_fitting_is_generated(columns, column))
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("column \"%s\" of table \"%s.%s\" is generated, and its values are not sent",
						column, relation->schema, relation->name),
				 errhint("It is made of other columns where the row is written: write rules for those.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" does not exist in table \"%s.%s\"",
					column, relation->schema, relation->name),
			 spec->id != 0 ?
			 errdetail("Rule " INT64_FORMAT " of flo.rules names it.", spec->id) : 0,
			 errhint("If the column was renamed or dropped, or is left out of the publication, change the rule.")));
}

static void
wrong_type(const FloRule *rule, const FloReader *reader, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" is of type %s, which %s", reader->column,
					format_type_be(reader->type), wanted),
			 errhint("The action \"where\" takes any condition.")));
}

static void
compile_comparison(FloRule *rule, FloReader *reader)
{
	TypeCacheEntry *type;
	Oid			function;

	flo_reader_require_type(reader);
	type = lookup_type_cache(reader->type, TYPECACHE_CMP_PROC | TYPECACHE_EQ_OPR);
	function = type->cmp_proc;
	if (!OidIsValid(function) &&
		(rule->spec->action == FLO_ACTION_EQ || rule->spec->action == FLO_ACTION_NE))
	{
		function = OidIsValid(type->eq_opr) ? get_opcode(type->eq_opr) : InvalidOid;
		rule->by_equality = true;
	}
	if (!OidIsValid(function))
		wrong_type(rule, reader, "cannot be compared");
	fmgr_info(function, &rule->compare);
	rule->compare_type = reader->type;
	rule->value = InputFunctionCall(&reader->input, rule->spec->value, reader->input_param,
									reader->typmod);
}

static void
compile_contains(FloRule *rule, FloReader *reader)
{
	char		category;
	bool		preferred;

	flo_reader_require_type(reader);
	get_type_category_preferred(reader->type, &category, &preferred);
	if (category != TYPCATEGORY_STRING)
		wrong_type(rule, reader, "is no text type");
	rule->text = rule->spec->value;
	rule->text_len = strlen(rule->text);
}

/* Rows are found by their keys: one value for all of them would make them one row */
static void
refuse_key(const FloRule *rule, const FloShapeColumns *columns)
{
	const FloShapeColumn *column = &columns->items[rule->column];

	if (!column->is_key || columns->relation->identity == REPLICA_IDENTITY_FULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" is part of the replica identity, and cannot be the same in all rows",
					column->name),
			 errhint("Rows are found by it: use a transform that keeps different values different.")));
}

/* Values that are different now may be the same then */
static void
refuse_duplicates(const FloRule *rule, const FloRuleOffice *office, const FloShapeColumns *columns,
				  const char *what)
{
	if (!rule->spec->allow_duplicates && !office->events)
		flo_fitting_check_unique(columns, &columns->items[rule->column], what);
}

void
flo_rule_require_secret(const FloRuleSpec *spec)
{
	if (spec->secret_name != NULL && spec->secret == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no secret \"%s\" in this database that %s may use",
						spec->secret_name, flo_role_shown(spec->author)),
				 errhint("Make it with flo.set_secret(), as this role or as one that it is a member of. It is not in dumps: give the value that it had elsewhere where pseudonyms must be the same.")));
}

/* The checks of domains are code of users: it runs as the author, as expressions do */
static void
check_fitting(const FloRule *rule, const FloRuleOffice *office, const FloShapeColumns *columns)
{
	const FloShapeColumn *column = &columns->items[rule->column];
	bool		guarded = flo_fitting_is_domain(columns, column);
	FloAuthor	saved;

	if (office->events)
		return;
	if (guarded)
		flo_author_enter(&saved, find_author(rule->spec, office), true);
	if (rule->pseudonym != NULL)
		flo_fitting_check_pseudonym(columns, column, rule->pseudonym);
	else
		flo_fitting_check_hash(columns, column, rule->hash);
	if (guarded)
		flo_author_leave(&saved);
}

static FloPseudonym *
make_pseudonym(const FloRuleSpec *spec)
{
	FloPseudonymOptions options = {spec->min, spec->max, spec->days, spec->subject != NULL};
	FloPseudonym *pseudonym = palloc(sizeof(FloPseudonym));

	flo_pseudonym_init(pseudonym, flo_pseudonym_kind(spec->kind), &options);
	return pseudonym;
}

static void
compile_pseudonym(FloRule *rule, const FloRuleOffice *office, FloShapeColumns *columns)
{
	const FloRuleSpec *spec = rule->spec;

	rule->pseudonym = make_pseudonym(spec);
	flo_rule_require_secret(spec);
	flo_pseudonym_set_secret(rule->pseudonym, spec->secret, strlen(spec->secret));
	if (spec->subject != NULL)
	{
		rule->subject = flo_columns_need(columns, spec->subject);
		if (rule->subject < 0)
			report_missing_column(spec, spec->subject, columns);
	}
	check_fitting(rule, office, columns);
	if (rule->pseudonym->kind->uniqueness == FLO_LOSSY)
		refuse_duplicates(rule, office, columns, psprintf("a pseudonym of kind \"%s\"", spec->kind));
}

static FloHash *
make_hash(const FloRuleSpec *spec)
{
	FloHash    *hash = palloc(sizeof(FloHash));

	flo_hash_init(hash, spec->length != NULL ? atoi(spec->length) : FLO_HASH_LENGTH,
				  spec->alphabet != NULL ? spec->alphabet : FLO_HASH_ALPHABET);
	return hash;
}

static void
compile_hash(FloRule *rule, const FloRuleOffice *office, FloShapeColumns *columns)
{
	const FloRuleSpec *spec = rule->spec;

	rule->hash = make_hash(spec);
	flo_rule_require_secret(spec);
	flo_hash_set_secret(rule->hash, spec->secret, strlen(spec->secret));
	check_fitting(rule, office, columns);
	if (rule->hash->uniqueness == FLO_LOSSY)
		refuse_duplicates(rule, office, columns, "a hash of less than 64 bits");
}

static void
compile_action(FloRule *rule, const FloRuleOffice *office, FloShapeColumns *columns)
{
	const FloRuleSpec *spec = rule->spec;
	FloReader  *reader = rule->column >= 0 ? &columns->items[rule->column].reader : NULL;

	switch (spec->action)
	{
		case FLO_ACTION_REGEX:
			rule->pattern = flo_pattern_compile(spec->pattern, spec->replace, spec->flags,
												CurrentMemoryContext);
			break;
		case FLO_ACTION_MASK:
			rule->text = spec->mask_char;
			rule->text_len = strlen(rule->text);
			break;
		case FLO_ACTION_NULL:
			refuse_key(rule, columns);
			break;
		case FLO_ACTION_CONSTANT:
			refuse_key(rule, columns);
			rule->text = spec->value;
			refuse_duplicates(rule, office, columns, "a constant");
			break;
		case FLO_ACTION_PSEUDONYM:
			compile_pseudonym(rule, office, columns);
			break;
		case FLO_ACTION_HASH:
			compile_hash(rule, office, columns);
			break;
		case FLO_ACTION_KEEP:
			break;
		case FLO_ACTION_EQ:
		case FLO_ACTION_NE:
		case FLO_ACTION_GT:
		case FLO_ACTION_LT:
		case FLO_ACTION_GTE:
		case FLO_ACTION_LTE:
			compile_comparison(rule, reader);
			break;
		case FLO_ACTION_CONTAINS:
			compile_contains(rule, reader);
			break;
		case FLO_ACTION_EXPRESSION:
		case FLO_ACTION_WHERE:
			rule->expr = flo_expr_compile(spec->expression, spec->action == FLO_ACTION_WHERE,
										  rule->author, office->decoding, columns);
			rule->guarded = rule->expr->guarded;
			break;
	}
}

FloRule *
flo_rule_compile(const FloRuleSpec *spec, const FloRuleOffice *office, FloShapeColumns *columns)
{
	FloRule    *rule = palloc0(sizeof(FloRule));
	bool		is_expression = spec->action == FLO_ACTION_EXPRESSION ||
		spec->action == FLO_ACTION_WHERE;

	rule->spec = spec;
	rule->column = -1;
	rule->subject = -1;
	if (spec->column != NULL)
	{
		rule->column = flo_columns_need(columns, spec->column);
		if (rule->column < 0)
			report_missing_column(spec, spec->column, columns);
		rule->guarded = !columns->items[rule->column].reader.builtin;
	}
	if (rule->guarded || is_expression)
		rule->author = find_author(spec, office);
	if (rule->guarded)
	{
		FloAuthor	saved;

		flo_author_enter(&saved, rule->author, true);
		compile_action(rule, office, columns);
		flo_author_leave(&saved);
		rule->guarded = true;
	}
	else
		compile_action(rule, office, columns);
	return rule;
}

void
flo_rule_check(const FloRuleSpec *spec)
{
	if (spec->action == FLO_ACTION_REGEX)
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo pattern",
													  ALLOCSET_SMALL_SIZES);

		(void) flo_pattern_compile(spec->pattern, spec->replace, spec->flags, context);
		MemoryContextDelete(context);
	}
	else if (spec->action == FLO_ACTION_PSEUDONYM)
		(void) make_pseudonym(spec);
	else if (spec->action == FLO_ACTION_HASH)
		(void) make_hash(spec);
	else if (spec->expression != NULL)
		flo_expr_check_syntax(spec->expression);
}

void
flo_rule_bind(FloRule *rule, const FloShapeColumns *columns, const FloRelation *relation)
{
	bool		by_key = relation->identity != REPLICA_IDENTITY_FULL;

	rule->is_key = by_key && rule->column >= 0 && columns->items[rule->column].is_key;
	rule->mixes_key = false;
	if (rule->is_key && rule->subject >= 0)
		rule->mixes_key = !columns->items[rule->subject].is_key;
	if (!rule->is_key || rule->spec->action != FLO_ACTION_EXPRESSION)
		return;
	for (int i = 0; i < rule->expr->ncolumns; i++)
		rule->mixes_key |= !columns->items[rule->expr->columns[i]].is_key;
}

/* --- the row ------------------------------------------------------------- */

static const FloValue *
old_value(const FloChange *change, int index, bool is_key)
{
	const FloValue *value;

	if (!change->has_old || (change->old_is_key && !is_key))
		return NULL;
	value = &change->old.values[index];
	return value->kind != FLO_VALUE_UNCHANGED ? value : NULL;
}

const FloValue *
flo_view_value(const FloRowView *view, int index, bool is_key)
{
	const FloChange *change = view->change;
	const FloValue *value;

	if (view->old)
	{
		if (change->has_old)
			return old_value(change, index, is_key);
		/* an UPDATE without an old row has not changed the key */
		if (!is_key || change->op != FLO_OP_UPDATE)
			return NULL;
	}
	value = &change->new.values[index];
	if (value->kind != FLO_VALUE_UNCHANGED)
		return value;
	return view->old ? NULL : old_value(change, index, is_key);
}

bool
flo_row_is_complete(const FloChange *change)
{
	FloRowView	view = {change, false};

	for (int i = 0; i < change->new.natts; i++)
		if (flo_view_value(&view, i, change->relation->columns[i].is_key) == NULL)
			return false;
	return true;
}

static const FloValue *
column_value(const FloShapeColumns *columns, int number, const FloRowView *view)
{
	const FloShapeColumn *column = &columns->items[number];

	return flo_view_value(view, column->index, column->is_key);
}

/* --- expressions --------------------------------------------------------- */

/* Are all values there that the expression needs? */
static bool
row_is_sufficient(const FloRule *rule, const FloShapeColumns *columns, const FloRowView *view)
{
	for (int i = 0; i < rule->expr->ncolumns; i++)
		if (column_value(columns, rule->expr->columns[i], view) == NULL)
			return false;
	return true;
}

/* The caller acts as the author */
static Datum
evaluate(FloRule *rule, FloShapeColumns *columns, const FloRowView *view, bool *isnull)
{
	FloExpr    *expr = rule->expr;

	for (int i = 0; i < expr->ncolumns; i++)
	{
		const FloValue *value = column_value(columns, expr->columns[i], view);
		ParamExternData *param = &expr->values->params[i];

		param->isnull = value->kind == FLO_VALUE_NULL;
		param->value = param->isnull ? (Datum) 0 :
			flo_reader_datum(&columns->items[expr->columns[i]].reader, value);
	}
	return flo_expr_evaluate(expr, isnull);
}

/* --- filters ------------------------------------------------------------- */

static int
compare(FloRule *rule, Oid collation, Datum value)
{
	int64		a;
	int64		b;

	switch (rule->compare_type)
	{
		case INT4OID:
			a = DatumGetInt32(value);
			b = DatumGetInt32(rule->value);
			return (a > b) - (a < b);
		case INT8OID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			a = DatumGetInt64(value);
			b = DatumGetInt64(rule->value);
			return (a > b) - (a < b);
		default:
			return DatumGetInt32(FunctionCall2Coll(&rule->compare, collation, value, rule->value));
	}
}

static bool
comparison_holds(FloRule *rule, FloReader *reader, const FloValue *value)
{
	Datum		datum = flo_reader_datum(reader, value);
	int			order;

	if (rule->by_equality)
		order = DatumGetBool(FunctionCall2Coll(&rule->compare, reader->collation, datum,
											   rule->value)) ? 0 : 1;
	else
		order = compare(rule, reader->collation, datum);
	switch (rule->spec->action)
	{
		case FLO_ACTION_EQ:
			return order == 0;
		case FLO_ACTION_NE:
			return order != 0;
		case FLO_ACTION_GT:
			return order > 0;
		case FLO_ACTION_LT:
			return order < 0;
		case FLO_ACTION_GTE:
			return order >= 0;
		case FLO_ACTION_LTE:
			return order <= 0;
		default:
			elog(ERROR, "action %d is no comparison", rule->spec->action);
	}
	return false;
}

/* Steps by characters, as in some encodings one may begin with another's last byte */
static bool
contains(const FloRule *rule, const char *text, int len)
{
	const char *end = text + len - rule->text_len;

	while (text <= end)
	{
		if (memcmp(text, rule->text, rule->text_len) == 0)
			return true;
		text += pg_mblen(text);
	}
	return false;
}

/* Its values are all known */
static bool
filter_holds(FloRule *rule, FloShapeColumns *columns, const FloRowView *view)
{
	FloReader  *reader;
	const FloValue *value;
	const char *text;
	int			len;

	if (rule->spec->action == FLO_ACTION_WHERE)
	{
		bool		isnull;
		Datum		result = evaluate(rule, columns, view, &isnull);

		return !isnull && DatumGetBool(result);
	}
	value = column_value(columns, rule->column, view);
	if (value->kind == FLO_VALUE_NULL)
		return false;
	reader = &columns->items[rule->column].reader;
	if (rule->spec->action != FLO_ACTION_CONTAINS)
		return comparison_holds(rule, reader, value);
	text = flo_reader_text(reader, value, &len);
	return contains(rule, text, len);
}

FloVerdict
flo_rule_filter(FloRule *rule, FloShapeColumns *columns, const FloRowView *view)
{
	FloAuthor	saved;
	bool		holds;

	if (rule->spec->action == FLO_ACTION_WHERE ?
		!row_is_sufficient(rule, columns, view) :
		column_value(columns, rule->column, view) == NULL)
		return FLO_UNKNOWN;
	if (!OidIsValid(rule->author))
		return filter_holds(rule, columns, view) ? FLO_PASSES : FLO_FAILS;
	flo_author_enter(&saved, rule->author, rule->guarded);
	holds = filter_holds(rule, columns, view);
	flo_author_leave(&saved);
	return holds ? FLO_PASSES : FLO_FAILS;
}

/* --- transforms ---------------------------------------------------------- */

static bool
is_ascii(const char *text, int len)
{
	const char *end = text + len;

	for (; text + sizeof(uint64) <= end; text += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, text, sizeof(word));
		if (word & UINT64CONST(0x8080808080808080))
			return false;
	}
	for (; text < end; text++)
		if (IS_HIGHBIT_SET(*text))
			return false;
	return true;
}

/* Bytes that the first "count" characters take */
static int
prefix_length(const char *text, int count, bool bytes)
{
	const char *at = text;

	if (bytes)
		return count;
	while (count-- > 0)
		at += pg_mblen(at);
	return (int) (at - text);
}

static void
mask(const FloRule *rule, const char *text, int len, StringInfo out)
{
	bool		bytes = pg_database_encoding_max_length() == 1 || is_ascii(text, len);
	int			count = bytes ? len : pg_mbstrlen_with_len(text, len);
	int			first = rule->spec->keep_first;
	int			last = rule->spec->keep_last;
	int			head;
	int			masked;

	resetStringInfo(out);
	if (count <= first + last)
	{
		if (rule->spec->keep_short)
		{
			appendBinaryStringInfo(out, text, len);
			return;
		}
		first = last = 0;
	}
	masked = count - first - last;
	head = prefix_length(text, first, bytes);
	enlargeStringInfo(out, len + masked * rule->text_len);
	appendBinaryStringInfo(out, text, head);
	if (rule->text_len == 1)
	{
		memset(out->data + out->len, rule->text[0], masked);
		out->len += masked;
	}
	else
		for (int i = 0; i < masked; i++)
			appendBinaryStringInfo(out, rule->text, rule->text_len);
	head += prefix_length(text + head, masked, bytes);
	appendBinaryStringInfo(out, text + head, len - head);
}

/* The same for every row, whatever it had; "text" NULL: NULL */
static void
set_constant(const char *text, FloValue *value)
{
	if (text != NULL)
		flo_value_set_text(value, text, strlen(text));
	else
	{
		value->kind = FLO_VALUE_NULL;
		value->len = 0;
		value->data = NULL;
	}
}

static void
report_not_sent(const char *what, const FloRowView *view)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s needs values that were not sent", what),
			 view->old ?
			 errdetail("The old row holds only the key.") :
			 errdetail("Values that are stored out of line and did not change are not sent."),
			 errhint("Give the table REPLICA IDENTITY FULL at the source.")));
}

/*
 * The column's value does not matter here but for one thing: when it was not
 * sent, and the expression needs nothing but it, the result has not changed.
 */
static void
set_expression(FloRule *rule, FloShapeColumns *columns, const FloRowView *view, FloValue *value)
{
	FloExpr    *expr = rule->expr;
	bool		isnull;
	Datum		result;

	if (!row_is_sufficient(rule, columns, view))
	{
		if (value->kind == FLO_VALUE_UNCHANGED && expr->ncolumns == 1 &&
			expr->columns[0] == rule->column)
			return;
		report_not_sent("an expression", view);
	}
	result = evaluate(rule, columns, view, &isnull);
	if (isnull)
		set_constant(NULL, value);
	else if (expr->result_is_text)
	{
		text	   *made = DatumGetTextPP(result);

		flo_value_set_text(value, VARDATA_ANY(made), VARSIZE_ANY_EXHDR(made));
	}
	else
	{
		char	   *text = OutputFunctionCall(&expr->output, result);

		flo_value_set_text(value, text, strlen(text));
	}
}

/* False when it is NULL */
static bool
read_subject(FloRule *rule, FloShapeColumns *columns, const FloRowView *view,
			 FloPseudonymInput *input)
{
	const FloValue *value = column_value(columns, rule->subject, view);

	if (value == NULL)
		report_not_sent("a pseudonym", view);
	if (value->kind == FLO_VALUE_NULL)
		return false;
	input->subject = flo_reader_text(&columns->items[rule->subject].reader, value,
									 &input->subject_len);
	return true;
}

static void
set_pseudonym(FloRule *rule, FloShapeColumns *columns, const FloRowView *view,
			  FloValue *value, const char *text, int len)
{
	FloPseudonymInput input = {text, len, NULL, 0};
	int			made_len;
	const char *made;

	/* of nobody's dates none is shown */
	if (rule->subject >= 0 && !read_subject(rule, columns, view, &input))
	{
		set_constant(NULL, value);
		return;
	}
	made = flo_pseudonym_make(rule->pseudonym, &input, &made_len);
	flo_value_set_text(value, made, made_len);
}

static void
set_text(FloRule *rule, FloShapeColumns *columns, const FloRowView *view, FloValue *value,
		 StringInfo scratch)
{
	FloReader  *reader = &columns->items[rule->column].reader;
	int			len;
	const char *text = flo_reader_text(reader, value, &len);

	/* what fills a column up to its length is no part of the value */
	if ((rule->pseudonym != NULL || rule->hash != NULL) && reader->type == BPCHAROID)
		while (len > 0 && text[len - 1] == ' ')
			len--;
	if (rule->pseudonym != NULL)
	{
		set_pseudonym(rule, columns, view, value, text, len);
		return;
	}
	if (rule->hash != NULL)
	{
		text = flo_hash_make(rule->hash, text, len, &len);
		flo_value_set_text(value, text, len);
		return;
	}
	if (rule->spec->action == FLO_ACTION_MASK)
		mask(rule, text, len, scratch);
	else if (!flo_pattern_replace(rule->pattern, text, len, scratch))
		return;
	flo_value_set_text(value, scratch->data, scratch->len);
}

static void
transform(FloRule *rule, FloShapeColumns *columns, const FloRowView *view, FloValue *value,
		  StringInfo scratch)
{
	bool		is_expression = rule->spec->action == FLO_ACTION_EXPRESSION;
	FloAuthor	saved;

	if (!is_expression &&
		(value->kind == FLO_VALUE_NULL || value->kind == FLO_VALUE_UNCHANGED))
		return;
	if (OidIsValid(rule->author))
		flo_author_enter(&saved, rule->author, rule->guarded);
	if (is_expression)
		set_expression(rule, columns, view, value);
	else
		set_text(rule, columns, view, value, scratch);
	if (OidIsValid(rule->author))
		flo_author_leave(&saved);
}

void
flo_rule_transform(FloRule *rule, FloShapeColumns *columns, const FloRowView *view,
				   FloValue *value, StringInfo scratch)
{
	flo_error_context.column = rule->spec->column;
	switch (rule->spec->action)
	{
		case FLO_ACTION_KEEP:
			break;
		case FLO_ACTION_NULL:
		case FLO_ACTION_CONSTANT:
			set_constant(rule->text, value);
			break;
		default:
			transform(rule, columns, view, value, scratch);
			break;
	}
	flo_error_context.column = NULL;
}

void
flo_rule_try(const FloRuleSpec *spec, const FloRelation *relation, bool decoding, bool events)
{
	const FloRuleOffice office = {InvalidOid, decoding, events};
	FloShapeColumns columns = {0};

	flo_rule_check(spec);
	if (relation == NULL)
		return;
	columns.context = CurrentMemoryContext;
	columns.relation = relation;
	columns.local = relation->id;
	(void) flo_rule_compile(spec, &office, &columns);
}
