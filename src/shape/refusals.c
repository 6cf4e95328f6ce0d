/*
 * refusals.c
 *		What rules do not do, and what is said of it.
 */
#include "postgres.h"

#include "core/error_context.h"
#include "core/settings.h"
#include "shape/refusals.h"
#include "wire/partition.h"

void
flo_refuse_unknown(const FloRule *rule)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rule " INT64_FORMAT " needs a value that was not sent", rule->spec->id),
			 errdetail("Values that are stored out of line and did not change are not sent."),
			 errhint("Give the table REPLICA IDENTITY FULL at the source.")));
}

/*
 * An expression that makes a key from more than the key: the key of a row that
 * is changed or deleted cannot be made again.
 */
void
flo_refuse_mixed_key(const FloRule *rule, const FloChange *change)
{
	if (rule->mixes_key && change->op != FLO_OP_INSERT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rule " INT64_FORMAT " makes the key column \"%s\" from columns that are not in the key",
						rule->spec->id, rule->spec->column),
				 errdetail("The key that the row had before cannot be told from what was sent."),
				 errhint("Use key columns only, or give the table REPLICA IDENTITY FULL at the source.")));
}

/* The time that the rules of a row have together is over: fail as a rule does */
void
flo_refuse_slow(void)
{
	FlushErrorState();
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("rule " INT64_FORMAT " was cut short: the rules of a row have %d ms together",
					flo_error_context.rule, flo_rule_budget),
			 errhint("Write patterns without repetitions that can match the same text in several ways, or raise pg_flo.rule_budget.")));
}

/*
 * What a function says of a value that it does not like shows that value, and an
 * error goes to logs and to flo.status.  Those about what the server or the
 * source has not got say nothing of it.
 */
static bool
may_show_value(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return true;
	}
}

void
flo_refuse_value(void)
{
	int			sqlerrcode = geterrcode();

	if (!may_show_value(sqlerrcode))
		return;
	FlushErrorState();
	ereport(ERROR,
			(errcode(sqlerrcode),
			 errmsg("rule " INT64_FORMAT " failed on a value", flo_error_context.rule),
			 errdetail("What failed may show the value, which strict masking keeps out of messages."),
			 errhint("flo.preview() shows it for a row of yours.")));
}

typedef struct Rules
{
	FloRule    *const *rules;
	int			count;
} Rules;

/* Does a transform make another value of the column? */
static bool
is_transformed(void *arg, const char *column)
{
	const Rules *all = arg;

	for (int i = 0; i < all->count; i++)
	{
		const FloRule *rule = all->rules[i];

		if (!flo_action_is_transform(rule->spec->action) || strcmp(rule->spec->column, column) != 0)
			continue;
		flo_error_context.rule = rule->spec->id;
		return true;
	}
	return false;
}

/* Rows can be told to be a partition's where they have the values they had at the source */
void
flo_refuse_part(FloRule *const *rules, int count, const FloTruncated *truncated)
{
	Rules		all = {rules, count};
	FloPartition *partition = flo_partition_read(truncated->part);
	const char *column = flo_partition_find_column(partition, is_transformed, &all);

	if (column != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("partition \"%s.%s\" was truncated at the source, and rule " INT64_FORMAT " changes column \"%s\", by which its rows are told from those of other partitions",
						partition->schema, partition->name, flo_error_context.rule, column),
				 errhint("Delete its rows here and skip this transaction with flo.skip().")));
}
