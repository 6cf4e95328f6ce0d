/*
 * replicator_rules.c
 *		The rules of the replicator: executed before anything leaves.
 *
 * Rows are shaped as they are packed: there a transaction is whole and commits,
 * and the description that belongs to a row is at hand.
 *
 * Rules are compiled between transactions, with the catalogs as they are now.
 * While a transaction is decoded only those of the past can be seen, which may
 * lack functions that the rules call.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/rule_tables.h"
#include "core/names.h"
#include "core/transaction.h"
#include "shape/shape.h"
#include "source/replicator_rules.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "wire/encode.h"

struct FloReplicatorRules
{
	MemoryContext context;
	char	   *group;
	FloChangeParser *parser;
	FloShape   *shape;
	StringInfoData shaped;
};

static bool
concerns(void *arg)
{
	return !flo_shape_is_empty(((FloReplicatorRules *) arg)->shape);
}

static void
describe(void *arg, const char *data, uint32 len)
{
	(void) flo_change_parse(((FloReplicatorRules *) arg)->parser, unconstify(char *, data), len);
}

static bool
shape_row(void *arg, uint32 relation, const char **data, uint32 *len)
{
	FloReplicatorRules *out = arg;
	const FloChange *before;
	const FloChange *after;

	if (!flo_shape_concerns(out->shape, flo_change_relation(out->parser, relation)))
		return true;
	before = flo_change_parse(out->parser, unconstify(char *, *data), *len);
	after = flo_shape_apply(out->shape, before);
	if (after == NULL)
		return false;
	if (after != before)
	{
		flo_encode_change(&out->shaped, after);
		*data = out->shaped.data;
		*len = out->shaped.len;
	}
	return true;
}

static const FloPublisherShaper shaper = {concerns, describe, shape_row};

static void
load(FloReplicatorRules *out)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(out->context, "pg_flo rules",
												  ALLOCSET_SMALL_SIZES);
	FloShapeSpec *spec;

	MemoryContextSwitchTo(context);
	spec = flo_rule_tables_load(out->group, FLO_REPLICATOR_MEMBER, "");
	MemoryContextSwitchTo(old);
	flo_shape_load(out->shape, spec, context);
}

void
flo_replicator_rules_follow(FloReplicatorRules *out, bool changed, Oid owner)
{
	MemoryContext old;
	List	   *news = flo_shape_take_news(out->shape);

	if (!changed && news == NIL && !flo_shape_is_stale(out->shape))
		return;
	old = flo_transaction_begin();
	flo_rule_tables_keep_known(out->group, FLO_REPLICATOR_MEMBER, "", news);
	if (changed)
	{
		CommandCounterIncrement();
		UpdateActiveSnapshotCommandId();
		flo_shape_set_owner(out->shape, owner);
		load(out);
	}
	flo_shape_refresh(out->shape);
	flo_rule_tables_keep_known(out->group, FLO_REPLICATOR_MEMBER, "",
							   flo_shape_take_news(out->shape));
	flo_transaction_end(old);
}

FloReplicatorRules *
flo_replicator_rules_open(const char *group, Oid owner, FloPublisher *publisher)
{
	FloReplicatorRules *out = palloc0(sizeof(FloReplicatorRules));
	FloShapeSettings settings = {0};

	out->context = CurrentMemoryContext;
	out->group = pstrdup(group);
	settings.owner = owner;
	settings.convert_updates = true;
	settings.decoding = true;
	out->parser = flo_change_parser_create(flo_publisher_tables(publisher));
	out->shape = flo_shape_create(flo_publisher_tables(publisher), &settings);
	initStringInfo(&out->shaped);
	flo_replicator_rules_follow(out, true, owner);
	flo_publisher_set_shaper(publisher, &shaper, out);
	return out;
}

static void
forget_table(void *arg, uint32 relation)
{
	flo_shape_forget(((FloReplicatorRules *) arg)->shape, relation);
}

void
flo_replicator_rules_forget(FloReplicatorRules *out)
{
	flo_change_begin_chunk(out->parser);
	flo_change_forget(out->parser, forget_table, out);
}

void
flo_replicator_rules_look_up(const FloReplicatorRules *out)
{
	flo_shape_look_up(out->shape);
}

bool
flo_replicator_rules_is_empty(const FloReplicatorRules *out)
{
	return flo_shape_is_empty(out->shape);
}
