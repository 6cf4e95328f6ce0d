/*
 * target_import.c
 *		What people write: imported files, rules, routes, options.
 *
 * An input is a letter that chooses a statement, and its parameters as texts
 * ended by zeros.  The statements are those of users, and so are the triggers
 * and functions that they run; what was written is tried on a row.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "fuzz.h"

#define MAX_PARAMETERS 4

static const struct
{
	char		letter;
	const char *command;
	int			nparameters;
}			statements[] = {
	{'r', "SELECT flo.import_rules('g', $1::jsonb)", 1},
	{'o', "SELECT flo.import_routes('g', $1::jsonb)", 1},
	{'a', "INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 't', $1, $2, $3::jsonb)", 3},
	{'m', "INSERT INTO flo.routes (group_name, source_table, destination_table, column_mappings) VALUES ('g', 't', $1, $2::jsonb)", 2},
	{'w', "SELECT flo.create_worker('g', $1, 'w', $2::jsonb)", 2},
	{'p', "SELECT flo.create_replicator('g', tables => '{t}', options => $1::jsonb)", 1},
	{'s', "INSERT INTO flo.webhook_subscriptions (group_name, url, schema_name, table_name, operations) VALUES ('g', $1, $2, $3, ARRAY[$4])", 4}
};

static const char *const trials[] = {
	"SELECT * FROM flo.preview('g', 't', 'INSERT', '{\"id\": 1, \"t\": \"some text\", \"n\": 1.50, \"d\": \"2024-02-29\"}')",
	"SELECT * FROM flo.preview('g', 't', 'DELETE', NULL, '{\"id\": 1}')"
};

static void
execute(const char *command, int nparameters, const char **data, size_t *len)
{
	Oid			types[MAX_PARAMETERS];
	Datum		values[MAX_PARAMETERS];
	char		nulls[MAX_PARAMETERS + 1] = {0};

	for (int i = 0; i < nparameters; i++)
	{
		char	   *text = fuzz_next_text(data, len);

		types[i] = TEXTOID;
		nulls[i] = text == NULL ? 'n' : ' ';
		if (text == NULL)
			continue;
		/* what a client may send at all */
		pg_verify_mbstr(GetDatabaseEncoding(), text, strlen(text), false);
		values[i] = CStringGetTextDatum(text);
	}
	(void) SPI_execute_with_args(command, nparameters, types, values, nulls, false, 0);
}

void
fuzz_import(const char *data, size_t len)
{
	char		letter;

	if (len < 1)
		return;
	letter = *data++;
	len--;
	SPI_connect();
	for (int i = 0; i < lengthof(statements); i++)
	{
		if (statements[i].letter != letter)
			continue;
		execute(statements[i].command, statements[i].nparameters, &data, &len);
		for (int j = 0; j < lengthof(trials); j++)
			(void) SPI_execute(trials[j], false, 0);
	}
	SPI_finish();
}
