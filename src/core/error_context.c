/*
 * error_context.c
 *		The error context of pg_flo's background processes.
 */
#include "postgres.h"

#include "core/error_context.h"
#include "lib/stringinfo.h"

FloErrorContext flo_error_context;

static ErrorContextCallback context_callback;

static void
add_part(StringInfo buf, const char *format, const char *value)
{
	if (value == NULL)
		return;
	if (buf->len > 0)
		appendStringInfoString(buf, ", ");
	appendStringInfo(buf, format, value);
}

char *
flo_error_context_describe(void)
{
	StringInfoData buf;

	initStringInfo(&buf);
	add_part(&buf, "group \"%s\"", flo_error_context.group);
	add_part(&buf, "member \"%s\"", flo_error_context.member);
	if (!XLogRecPtrIsInvalid(flo_error_context.commit_lsn))
		appendStringInfo(&buf, "%s%s %X/%X", buf.len > 0 ? ", " : "",
						 flo_error_context.several ? "one of the transactions up to" :
						 "transaction at",
						 LSN_FORMAT_ARGS(flo_error_context.commit_lsn));
	add_part(&buf, "%s", flo_error_context.operation);
	if (flo_error_context.table != NULL)
	{
		appendStringInfo(&buf, "%stable \"%s.%s\"", buf.len > 0 ? ", " : "",
						 flo_error_context.schema != NULL ? flo_error_context.schema : "?",
						 flo_error_context.table);
		add_part(&buf, "column \"%s\"", flo_error_context.column);
	}
	if (flo_error_context.rule != 0)
		appendStringInfo(&buf, "%srule " INT64_FORMAT, buf.len > 0 ? ", " : "",
						 flo_error_context.rule);
	add_part(&buf, "row %s", flo_error_context.row);
	if (buf.len == 0)
		return NULL;
	return buf.data;
}

static void
report_context(void *arg)
{
	char	   *line = flo_error_context_describe();

	if (line == NULL)
		return;
	errcontext("%s", line);

	/* what is left here by a message that is no error stays for ever */
	pfree(line);
}

void
flo_error_context_install(void)
{
	context_callback.callback = report_context;
	context_callback.arg = NULL;
	context_callback.previous = error_context_stack;
	error_context_stack = &context_callback;
}

void
flo_error_context_source(uint32 relation, const char *schema, const char *table)
{
	flo_error_context.source_relation = relation;
	flo_error_context.source_schema = schema;
	flo_error_context.source_table = table;
}

void
flo_error_context_clear(void)
{
	flo_error_context_source(0, NULL, NULL);
	flo_error_context.commit_lsn = InvalidXLogRecPtr;
	flo_error_context.several = false;
	flo_error_context.operation = NULL;
	flo_error_context.schema = NULL;
	flo_error_context.table = NULL;
	flo_error_context.column = NULL;
	flo_error_context.rule = 0;
	flo_error_context.row = NULL;
}

bool
flo_error_is_about_data(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	}
}
