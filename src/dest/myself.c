/*
 * myself.c
 *		What a worker is told to do, read outside of transactions.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "conf/store.h"
#include "core/transaction.h"
#include "dest/myself.h"
#include "miscadmin.h"
#include "utils/memutils.h"

FloWorkerSpec *
flo_my_spec(const char *group, const char *worker)
{
	MemoryContext old = flo_transaction_begin();
	FloWorkerSpec *spec;

	MemoryContextSwitchTo(old);
	spec = flo_store_worker(group, worker);
	flo_transaction_end(old);
	return spec;
}

char *
flo_my_database(void)
{
	MemoryContext old = flo_transaction_begin();
	char	   *name;

	MemoryContextSwitchTo(old);
	name = get_database_name(MyDatabaseId);
	flo_transaction_end(old);
	return name;
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool
flo_same_options(const FloWorkerOptions *a, const FloWorkerOptions *b)
{
	FloWorkerOptions x = *a;
	FloWorkerOptions y = *b;

	x.tables = x.directory = x.url = x.headers_file = x.secret_file = NULL;
	y.tables = y.directory = y.url = y.headers_file = y.secret_file = NULL;
	return memcmp(&x, &y, sizeof(x)) == 0 &&
		same_text(a->tables, b->tables) &&
		same_text(a->directory, b->directory) &&
		same_text(a->url, b->url) &&
		same_text(a->headers_file, b->headers_file) &&
		same_text(a->secret_file, b->secret_file);
}
