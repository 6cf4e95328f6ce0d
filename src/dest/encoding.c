/*
 * encoding.c
 *		The encoding of the text that arrives.
 *
 * It is the one of the source's database, takes the place of a client's, and
 * may have no conversion to ours.  The conversion is looked up in the catalogs,
 * which needs a transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/transaction.h"
#include "dest/encoding.h"
#include "mb/pg_wchar.h"
#include "monitor/state.h"
#include "utils/guc.h"

void
flo_follow_encoding(FloChangeParser *parser, int encoding)
{
	MemoryContext old = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState();

	flo_change_set_encoding(parser, encoding);
	if (own_transaction)
		flo_transaction_start();
	if (PrepareClientEncoding(encoding) < 0)
		flo_fail(ERRCODE_FEATURE_NOT_SUPPORTED,
				 "Create the destination database with the source's encoding or with UTF8.",
				 "text of the source is in encoding %s, which cannot be converted to %s of this database",
				 pg_encoding_to_char(encoding), GetDatabaseEncodingName());
	SetConfigOption("client_encoding", pg_encoding_to_char(encoding),
					PGC_SUSET, PGC_S_OVERRIDE);
	if (own_transaction)
		flo_transaction_commit();
	MemoryContextSwitchTo(old);
}
