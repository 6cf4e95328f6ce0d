/*
 * sequence_state.c
 *		Where a sequence is, read by its OID.
 *
 * SQL reads a sequence by its name alone, and between the look-up of the name
 * and the reading its owner can give the name to a view.  What the view calls
 * would run with the rights of whoever reads, which here is a superuser.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "api/function.h"
#include "catalog/pg_class.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

FLO_FUNCTION(flo_sequence_state);

Datum
flo_sequence_state(PG_FUNCTION_ARGS)
{
	Relation	relation = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (relation != NULL && relation->rd_rel->relkind == RELKIND_SEQUENCE)
	{
		Buffer		buffer = ReadBuffer(relation, 0);
		HeapTupleData tuple = {0};
		Form_pg_sequence_data data;
		ItemId		item;

		/* a sequence is one row */
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		item = PageGetItemId(BufferGetPage(buffer), FirstOffsetNumber);
		tuple.t_data = (HeapTupleHeader) PageGetItem(BufferGetPage(buffer), item);
		tuple.t_len = ItemIdGetLength(item);
		data = (Form_pg_sequence_data) GETSTRUCT(&tuple);
		values[0] = Int64GetDatum(data->last_value);
		values[1] = BoolGetDatum(data->is_called);
		nulls[0] = nulls[1] = false;
		UnlockReleaseBuffer(buffer);
	}
	if (relation != NULL)
		relation_close(relation, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
