/*
 * target_ddl.c
 *		What a DDL message says.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "wire/ddl.h"

#include "fuzz.h"

/* A message that is read and written must be read as the same */
static void
check_round_trip(const FloDdlStatement *ddl)
{
	char	   *written = flo_ddl_format(ddl);

	fuzz_check(strcmp(written, flo_ddl_format(flo_ddl_parse(written))) == 0);
}

void
fuzz_ddl(const char *data, size_t len)
{
	char	   *text = fuzz_text(data, len);
	FloDdlStatement *ddl;
	StringInfoData command;

	if (text == NULL || !pg_verify_mbstr(GetDatabaseEncoding(), text, len, true))
		return;
	ddl = flo_ddl_parse(text);
	initStringInfo(&command);
	flo_ddl_append_command(&command, ddl);
	check_round_trip(ddl);
}
