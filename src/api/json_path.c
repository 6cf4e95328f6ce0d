/*
 * json_path.c
 *		flo.json_set() and flo.json_mask(): parts of a document, by their path.
 *
 * A path is keys and numbers of elements from the document's root; "*" stands for
 * each of them.  What the path does not lead to stays as it is.
 */
#include "postgres.h"

#include "api/function.h"
#include "core/arguments.h"
#include "core/compat_name.h"
#include "core/text.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

FLO_FUNCTION(flo_json_set);
FLO_FUNCTION(flo_json_mask);

typedef struct Edit
{
	char	  **path;
	int			depth;
	Jsonb	   *value;			/* what is set; NULL: masked */
	const char *mask;			/* a character */
	FloJsonb	result;
} Edit;

#define NOT_ON_PATH (-1)

static void copy(Edit *edit, JsonbContainer *container, int at);

static void
push(Edit *edit, JsonbIteratorToken token, JsonbValue *value)
{
	flo_compat_push_jsonb(&edit->result, token, value);
}

/* Each character of a string, and what says as little in the place of all else */
static void
mask_scalar(const Edit *edit, JsonbValue *value)
{
	StringInfoData buf;
	int			count;

	if (value->type == jbvNumeric)
		value->val.numeric = DatumGetNumeric(DirectFunctionCall1(int4_numeric, Int32GetDatum(0)));
	else if (value->type == jbvBool)
		value->val.boolean = false;
	if (value->type != jbvString)
		return;
	initStringInfo(&buf);
	count = pg_mbstrlen_with_len(value->val.string.val, value->val.string.len);
	for (int i = 0; i < count; i++)
		appendStringInfoString(&buf, edit->mask);
	value->val.string.val = buf.data;
	value->val.string.len = buf.len;
}

static void
push_set(Edit *edit, JsonbIteratorToken token)
{
	JsonbValue	value;

	if (JB_ROOT_IS_SCALAR(edit->value))
		(void) JsonbExtractScalar(&edit->value->root, &value);
	else
	{
		value.type = jbvBinary;
		value.val.binary.data = &edit->value->root;
		value.val.binary.len = VARSIZE_ANY_EXHDR(edit->value);
	}
	push(edit, token, &value);
}

/* "at": how much of the path leads here; all of it: this is what is meant, or in it */
static void
push_value(Edit *edit, JsonbIteratorToken token, JsonbValue *value, int at)
{
	if (at == edit->depth && edit->value != NULL)
		push_set(edit, token);
	else if (at == NOT_ON_PATH)
		push(edit, token, value);
	else if (value->type == jbvBinary)
		copy(edit, value->val.binary.data, at);
	else
	{
		if (at == edit->depth)
			mask_scalar(edit, value);
		push(edit, token, value);
	}
}

static int
step(const Edit *edit, int at, const char *name, int len)
{
	const char *wanted;

	if (at == NOT_ON_PATH || at == edit->depth)
		return at;
	wanted = edit->path[at];
	if (strcmp(wanted, "*") == 0 ||
		(strlen(wanted) == (size_t) len && memcmp(wanted, name, len) == 0))
		return at + 1;
	return NOT_ON_PATH;
}

/* The last key of a path is added to an object that has not got it */
static void
add_missing_key(Edit *edit, int at, bool found)
{
	JsonbValue	key;

	if (edit->value == NULL || found || at != edit->depth - 1 || strcmp(edit->path[at], "*") == 0)
		return;
	key.type = jbvString;
	key.val.string.val = edit->path[at];
	key.val.string.len = strlen(edit->path[at]);
	push(edit, WJB_KEY, &key);
	push_set(edit, WJB_VALUE);
}

static void
copy(Edit *edit, JsonbContainer *container, int at)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		found = false;
	int			below = NOT_ON_PATH;
	int			element = 0;

	check_stack_depth();
	token = JsonbIteratorNext(&it, &value, false);
	push(edit, token, token == WJB_BEGIN_ARRAY && value.val.array.rawScalar ? &value : NULL);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char		number[16];

		switch (token)
		{
			case WJB_KEY:
				below = step(edit, at, value.val.string.val, value.val.string.len);
				found |= below == edit->depth;
				push(edit, token, &value);
				break;
			case WJB_VALUE:
				push_value(edit, token, &value, below);
				break;
			case WJB_ELEM:
				snprintf(number, sizeof(number), "%d", element++);
				push_value(edit, token, &value, step(edit, at, number, strlen(number)));
				break;
			case WJB_END_OBJECT:
				add_missing_key(edit, at, found);
				push(edit, token, NULL);
				break;
			default:
				push(edit, token, NULL);
				break;
		}
	}
}

/* The document is the first argument, the path the second; neither is NULL */
static Datum
edit_document(FunctionCallInfo fcinfo, Edit *edit)
{
	Jsonb	   *document = PG_GETARG_JSONB_P(0);
	List	   *path = flo_texts_of_array(PG_GETARG_DATUM(1));
	ListCell   *lc;

	if (path == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the path is empty"),
				 errhint("It is keys and numbers of elements, as in {users,0,name}; * stands for each of them.")));
	edit->depth = list_length(path);
	edit->path = palloc(edit->depth * sizeof(char *));
	foreach(lc, path)
		edit->path[foreach_current_index(lc)] = lfirst(lc);
	if (JB_ROOT_IS_SCALAR(document))
		PG_RETURN_JSONB_P(document);
	copy(edit, &document->root, 0);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(edit->result.result));
}

Datum
flo_json_set(PG_FUNCTION_ARGS)
{
	Edit		edit = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	flo_argument_require(fcinfo, 1, "path");
	flo_argument_require(fcinfo, 2, "value");
	edit.value = PG_GETARG_JSONB_P(2);
	return edit_document(fcinfo, &edit);
}

Datum
flo_json_mask(PG_FUNCTION_ARGS)
{
	Edit		edit = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	flo_argument_require(fcinfo, 1, "path");
	edit.mask = flo_argument_text(fcinfo, 2, "mask_char");
	if (pg_mbstrlen(edit.mask) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mask_char must be one character")));
	return edit_document(fcinfo, &edit);
}
