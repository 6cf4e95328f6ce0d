/*
 * target_message.c
 *		pg_flo's own messages in WAL, which anybody may try to write.
 *
 * An input is tried as it is; then as a payload: signed for two groups, damaged
 * in one place, and checked.  What still counts must be what was signed.
 */
#include "postgres.h"

#include "wire/message.h"

#include "fuzz.h"

static void
check_damaged(const FloMessage *signed_one, const FloMessageKey *key, char *content, Size len,
			  size_t at, uint8 damage)
{
	FloMessage	message = {0};

	content[at % len] ^= damage;
	if (flo_message_check(content, len, key, &message) != FLO_MESSAGE_GENUINE)
	{
		fuzz_check(damage != 0);
		return;
	}
	fuzz_check(message.kind == signed_one->kind);
	fuzz_check(message.transaction == signed_one->transaction);
	fuzz_check(message.subtransaction == signed_one->subtransaction);
	fuzz_check(message.ordinal == signed_one->ordinal);
	fuzz_check(message.len == signed_one->len);
	fuzz_check(memcmp(message.payload, signed_one->payload, message.len) == 0);
}

void
fuzz_message(const char *data, size_t len)
{
	FloMessageKey one = {"g", "0123456789abcdef"};
	FloMessageKey other = {"another", "fedcba9876543210"};
	FloMessage	message = {0};
	char	   *content;
	Size		content_len;

	fuzz_check(flo_message_check(fuzz_copy(data, len), len, &one, &message) != FLO_MESSAGE_GENUINE);
	if (len < 4)
		return;
	message.kind = (FloMessageKind) (data[0] & 0x7F);
	message.transaction = UINT64CONST(0x100000000) | (uint8) data[1];
	message.subtransaction = (uint8) data[1];
	message.ordinal = 1;
	message.payload = data + 4;
	message.len = len - 4;
	content = flo_message_format(&message, list_make2(&other, &one), &content_len);
	check_damaged(&message, &one, fuzz_copy(content, content_len), content_len,
				  (uint8) data[2], (uint8) data[3]);

	/* of all lengths that are shorter, none counts */
	if ((uint8) data[2] < content_len)
	{
		FloMessage	cut;

		content_len = (uint8) data[2];
		fuzz_check(flo_message_check(fuzz_copy(content, content_len), content_len, &one,
									 &cut) != FLO_MESSAGE_GENUINE);
	}
}
