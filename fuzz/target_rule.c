/*
 * target_rule.c
 *		A rule and a route at work on one row.
 *
 * An input is four bytes that choose, and texts ended by zeros: the rule's
 * arguments, the route's names, the row.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "shape/rules.h"
#include "shape/shape.h"

#include "fuzz.h"
#include "messages.h"

/* Code of users is not run here: the server's parser is not what is tried */
static const FloAction actions[] = {
	FLO_ACTION_REGEX, FLO_ACTION_MASK, FLO_ACTION_NULL, FLO_ACTION_CONSTANT, FLO_ACTION_KEEP,
	FLO_ACTION_EQ, FLO_ACTION_NE, FLO_ACTION_GT, FLO_ACTION_LT, FLO_ACTION_GTE, FLO_ACTION_LTE,
	FLO_ACTION_LT, FLO_ACTION_GTE, FLO_ACTION_LTE, FLO_ACTION_CONTAINS, FLO_ACTION_PSEUDONYM,
	FLO_ACTION_HASH
};

static char *const kinds[] = {
	"email", "full_name", "street", "phone", "iban", "credit_card", "uuid", "ip", "integer",
	"bigint", "text", "date"
};

static const Oid types[] = {
	TEXTOID, INT4OID, NUMERICOID, JSONOID, JSONBOID, TIMESTAMPTZOID, INT4ARRAYOID, BYTEAOID,
	BOOLOID,
	BPCHAROID, UUIDOID, FLOAT8OID, DATEOID, INETOID
};

/* What there is of a text that may be missing or not be the database's */
static char *
next_valid(const char **data, size_t *len)
{
	char	   *text = fuzz_next_text(data, len);

	if (text == NULL || !pg_verify_mbstr(GetDatabaseEncoding(), text, strlen(text), true))
		return pstrdup("");
	return text;
}

static FloShapeSpec *
make_spec(const uint8 *choice, const char **data, size_t *len)
{
	FloShapeSpec *spec = palloc0(sizeof(FloShapeSpec));
	FloRuleSpec *rule = palloc0(sizeof(FloRuleSpec));
	FloRouteSpec *route = palloc0(sizeof(FloRouteSpec));
	bool		value_given = choice[1] & 1;

	rule->id = 1;
	rule->schema = "fuzz";
	rule->table = "t";
	rule->column = choice[1] & 2 ? "b" : "a";
	rule->action = actions[choice[0] % lengthof(actions)];
	rule->operations = FLO_ON_INSERT | FLO_ON_UPDATE | FLO_ON_DELETE;
	rule->allow_empty_deletes = choice[1] & 4;
	rule->pattern = next_valid(data, len);
	rule->replace = next_valid(data, len);
	rule->flags = value_given ? next_valid(data, len) : NULL;
	rule->mask_char = next_valid(data, len);
	rule->keep_first = choice[2] & 15;
	rule->keep_last = choice[2] >> 4;
	rule->keep_short = choice[1] & 8;
	rule->value = next_valid(data, len);
	rule->kind = kinds[choice[2] % lengthof(kinds)];
	rule->secret_name = "fuzz";
	rule->secret = "0123456789abcdef";
	rule->subject = strcmp(rule->kind, "date") == 0 ? "b" : NULL;
	rule->alphabet = value_given ? rule->value : NULL;
	rule->allow_duplicates = choice[1] & 8;
	spec->rules = list_make1(rule);
	if (choice[1] & 16)
	{
		route->id = 1;
		route->source_schema = "fuzz";
		route->source_table = "t";
		route->destination_table = next_valid(data, len);
		route->operations = choice[1] & 32 ? FLO_ON_INSERT | FLO_ON_UPDATE : 0xF;
		route->nmappings = 1;
		route->mappings = palloc0(sizeof(FloMapping));
		route->mappings->source = choice[1] & 64 ? "a" : "c";
		route->mappings->destination = choice[1] & 128 ? next_valid(data, len) : NULL;
		spec->routes = list_make1(route);
	}
	return spec;
}

static void
make_tuple(FloTuple *tuple, uint8 kinds, const char **data, size_t *len)
{
	static const char choices[] = {
		FLO_VALUE_TEXT, FLO_VALUE_TEXT, FLO_VALUE_BINARY, FLO_VALUE_NULL
	};

	tuple->natts = 3;
	tuple->values = palloc0(sizeof(FloValue) * 3);
	for (int i = 0; i < 3; i++)
	{
		FloValue   *value = &tuple->values[i];
		char	   *text = fuzz_next_text(data, len);

		value->kind = text == NULL ? FLO_VALUE_NULL : choices[(kinds >> (2 * i)) & 3];
		if (value->kind == FLO_VALUE_NULL)
			continue;
		/* with the byte behind it that readers may overwrite, as in a message */
		value->data = text;
		value->len = strlen(text);
	}
}

static FloChange *
make_change(uint8 choice, const char **data, size_t *len)
{
	static FloColumn columns[] = {
		{
			.name = "a",
			.typmod = -1
		},
		{
			.name = "b",
			.type = TEXTOID,
			.typmod = -1,
			.is_key = true
		},
		{
			.name = "c",
			.type = INT4OID,
			.typmod = -1
		}
	};
	static FloRelation relation = {
		.id = 20000,
		.schema = "fuzz",
		.name = "t",
		.identity = REPLICA_IDENTITY_DEFAULT,
		.natts = 3,
		.columns = columns
	};
	static const FloOp ops[] = {FLO_OP_INSERT, FLO_OP_UPDATE, FLO_OP_DELETE};
	FloChange  *change = palloc0(sizeof(FloChange));

	columns[0].type = types[choice % lengthof(types)];
	relation.version = flo_relation_new_version();
	change->op = ops[choice % lengthof(ops)];
	change->relation = &relation;
	if (change->op != FLO_OP_DELETE)
		make_tuple(&change->new, choice, data, len);
	change->has_old = change->op != FLO_OP_INSERT;
	change->old_is_key = choice & 64;
	if (change->has_old)
		make_tuple(&change->old, choice >> 2, data, len);
	return change;
}

void
fuzz_rule(const char *data, size_t len)
{
	FloShapeSettings settings = {.owner = BOOTSTRAP_SUPERUSERID};
	uint8		choice[4];
	FloShape   *shape;
	FloShapeSpec *spec;
	MemoryContext context;
	MemoryContext old;
	FloChange  *change;
	const FloChange *result;

	if (len < sizeof(choice))
		return;
	memcpy(choice, data, sizeof(choice));
	data += sizeof(choice);
	len -= sizeof(choice);

	settings.convert_updates = choice[3] & 128;
	shape = flo_shape_create(CurrentMemoryContext, &settings);
	context = fuzz_context_create(CurrentMemoryContext, "spec");
	old = MemoryContextSwitchTo(context);
	spec = make_spec(choice, &data, &len);
	MemoryContextSwitchTo(old);
	flo_rule_try(linitial(spec->rules), NULL, false, false);
	flo_shape_load(shape, spec, context);
	change = make_change(choice[3], &data, &len);
	result = flo_shape_apply(shape, change);
	if (result != NULL)
		fuzz_write_event(result);
}
