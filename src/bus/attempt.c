/*
 * attempt.c
 *		One attempt to connect to NATS, as the settings say.
 *
 * The first one of a process loads the module.  What may hang runs in a thread of
 * the library; what waits for it here serves interrupts.
 */
#include "postgres.h"

#include <ctype.h>
#include <poll.h>
#include <unistd.h>

#include "bus/attempt.h"
#include "bus/failure.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/files.h"
#include "core/loop.h"
#include "core/settings.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "monitor/state.h"
#include "storage/fd.h"
#include "storage/ipc.h"

/* How long one server may take to answer a connection attempt, ms */
#define CONNECT_TIMEOUT 1000

/* How long an attempt may take in all, ms */
#define CONNECT_DEADLINE 10000

/* Longest password that is read from a file */
#define PASSWORD_MAX 1024

/* Of credentials, which have the user's permissions in them; and how long a seed is there */
#define SEED_FILE_MAX (256 * 1024)
#define SEED_LENGTH 58

const FloNatsFunctions *flo_bus_module = NULL;

static void
load_module(void)
{
	FloNatsEntry entry;
	const FloNatsFunctions *functions;

	if (flo_bus_module != NULL)
		return;
	entry = (FloNatsEntry) load_external_function(FLO_NATS_MODULE, FLO_NATS_ENTRY, true, NULL);
	functions = entry();
	if (functions->abi != FLO_NATS_ABI)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the libraries pg_flo and pg_flo_bus are of different versions"),
				 errhint("Restart the server after an upgrade of pg_flo.")));
	flo_bus_module = functions;
}

static bool
is_set(const char *setting)
{
	return setting != NULL && setting[0] != '\0';
}

/* The password of pg_flo.nats_password_file, palloc'd */
static char *
read_password_file(void)
{
	char	   *password = flo_files_read_secret(flo_nats_password_file, "password file",
												 PASSWORD_MAX);
	size_t		len = strlen(password);
	size_t		blanks = 0;

	while (len > 0 && isspace((unsigned char) password[len - 1]))
		password[--len] = '\0';
	while (isspace((unsigned char) password[blanks]))
		blanks++;
	memmove(password, password + blanks, len - blanks + 1);
	/* or the end of it would stay behind */
	explicit_bzero(password + len - blanks, blanks);
	return password;
}

/*
 * Of one that is cut, as while it is written, the library says no more than "invalid
 * checksum".  The seed is at the end of either kind.
 */
static void
check_seed(const char *path, const char *what)
{
	char	   *text = flo_files_read_secret(path, what, SEED_FILE_MAX);
	bool		whole = false;

	for (char *word = text; *word != '\0';)
	{
		size_t		len = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");

		whole |= *word == 'S' && len == SEED_LENGTH;
		word += Max(len, 1);
	}
	explicit_bzero(text, strlen(text));
	pfree(text);
	if (!whole)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not use %s \"%s\": it holds no whole seed", what, path),
				 errhint("Who exchanges it while pg_flo runs writes another file and renames that.")));
}

/* What the library opens by name is looked at before, and called by name when it is not there */
static void
check_files(void)
{
	if (is_set(flo_nats_credentials_file))
		check_seed(flo_nats_credentials_file, "NATS credentials file");
	if (is_set(flo_nats_nkey_file))
		check_seed(flo_nats_nkey_file, "NATS NKey file");
	if (is_set(flo_nats_tls_ca_file))
		flo_files_check(flo_nats_tls_ca_file, "NATS CA file", false, 0);
	if (is_set(flo_nats_tls_cert_file))
		flo_files_check(flo_nats_tls_cert_file, "NATS certificate file",
						!is_set(flo_nats_tls_key_file), 0);
	if (is_set(flo_nats_tls_key_file))
		flo_files_check(flo_nats_tls_key_file, "NATS key file", true, 0);
}

/*
 * A name look-up or a TLS handshake may never end, and nothing ends its thread but
 * the end of the process.  So an attempt that takes too long is an error, which a
 * process does not outlive; or one who has something to lose leaves it alone and
 * makes another, a few times.
 */
#define HANGING_MAX 3

static int	threads_at_work = 0;
static FloNats *hanging[HANGING_MAX];
static int	nhanging = 0;

/*
 * What is to be done at exit has been done.  What the libraries would do then is
 * left out when their thread is still at work: it would pull the ground away
 * from under it, and a crash is one of the whole server.
 */
static void
leave_threads(int code, Datum arg)
{
	if (threads_at_work > 0)
		_exit(flo_exit_code(code));
}

/* Attempts that were left alone and are over by now; nobody needs what they bring any more */
static void
reap_hanging(void)
{
	char		words[512];
	int			kept = 0;

	for (int i = 0; i < nhanging; i++)
	{
		struct pollfd over = {
			.fd = flo_bus_module->connecting(hanging[i]),
			.events = POLLIN
		};

		if (poll(&over, 1, 0) <= 0)
			hanging[kept++] = hanging[i];
		else
		{
			threads_at_work--;
			if (flo_bus_module->connected(hanging[i], words, sizeof(words)) == FLO_NATS_OK)
				flo_bus_module->close(hanging[i]);
		}
	}
	nhanging = kept;
}

/* Wait until the attempt is over, "patient" ones no longer than until it takes too long */
static FloNatsStatus
finish_connecting(FloNats *nats, bool patient, char *words, size_t words_size)
{
	static bool registered = false;
	FloClock	begun = flo_clock();
	pgsocket	over = flo_bus_module->connecting(nats);

	if (!registered)
		on_proc_exit(leave_threads, 0);
	registered = true;
	threads_at_work++;
	flo_wait_means(FLO_WAIT_NATS);
	while ((flo_wait(over, false, CONNECT_TIMEOUT / 2) & WL_SOCKET_READABLE) == 0)
	{
		if (flo_clock_passed(begun, CONNECT_DEADLINE))
		{
			if (patient && nhanging < HANGING_MAX)
			{
				hanging[nhanging++] = nats;
				flo_wait_forget();
				snprintf(words, words_size, "no end of the attempt within %d s",
						 CONNECT_DEADLINE / 1000);
				return FLO_NATS_NO_ANSWER;
			}
			ereport(ERROR,
					(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
					 errmsg("could not connect to NATS at \"%s\" within %d s", flo_nats_url,
							CONNECT_DEADLINE / 1000),
					 errhint("Look for a name server that does not answer, or something that accepts connections and does not go on with TLS.")));
		}
		if (flo_me != NULL && flo_clock_passed(begun, CONNECT_TIMEOUT / 2))
			flo_state_set(FLO_STATE_WAITING, "for NATS: connecting to \"%s\"", flo_nats_url);
		flo_wait_means(FLO_WAIT_NATS);
	}
	threads_at_work--;
	flo_wait_forget();
	return flo_bus_module->connected(nats, words, words_size);
}

char *
flo_bus_settings(void)
{
	const char *const settings[] = {
		flo_nats_url, flo_nats_user, flo_nats_password, flo_nats_password_file, flo_nats_token,
		flo_nats_credentials_file, flo_nats_nkey, flo_nats_nkey_file, flo_nats_tls ? "tls" : "",
		flo_nats_tls_ca_file, flo_nats_tls_cert_file, flo_nats_tls_key_file, flo_nats_inbox_prefix
	};
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < lengthof(settings); i++)
		appendStringInfo(&text, "%s\n", settings[i] != NULL ? settings[i] : "");
	return text.data;
}

/*
 * Files are looked at before the library opens them: it would wait for a FIFO, and
 * read a secret that others can change.  The password is read here, so it is wiped
 * whatever happens, also out of the words of an error.
 */
FloNatsStatus
flo_bus_attempt(const char *name, bool patient, FloNats **nats, char *words, size_t words_size)
{
	FloNatsOptions options = {0};
	volatile FloNatsStatus status;
	char	   *volatile password = NULL;

	load_module();
	reap_hanging();
	check_files();
	options.name = name;
	options.urls = flo_nats_url;
	options.user = flo_nats_user;
	options.password = flo_nats_password;
	if (is_set(flo_nats_password_file))
		options.password = password = read_password_file();
	options.token = flo_nats_token;
	options.credentials_file = flo_nats_credentials_file;
	options.nkey = flo_nats_nkey;
	options.nkey_file = flo_nats_nkey_file;
	/* the library knows the scheme, and does nothing about it */
	options.tls = flo_nats_tls || (is_set(flo_nats_url) && strstr(flo_nats_url, "tls://") != NULL);
	options.tls_ca_file = flo_nats_tls_ca_file;
	options.tls_cert_file = flo_nats_tls_cert_file;
	options.tls_key_file = flo_nats_tls_key_file;
	options.inbox_prefix = flo_nats_inbox_prefix;
	options.timeout_ms = CONNECT_TIMEOUT;

	words[0] = '\0';
	/* the library would connect to this machine */
	if (!is_set(flo_nats_url))
	{
		strlcpy(words, "pg_flo.nats_url is empty", words_size);
		status = FLO_NATS_UNREACHABLE;
	}
	else
		status = flo_bus_module->connect(&options, nats, words, words_size);
	PG_TRY();
	{
		if (status == FLO_NATS_OK)
			status = finish_connecting(*nats, patient, words, words_size);
	}
	PG_FINALLY();
	{
		if (password != NULL)
		{
			flo_bus_blot(words, password);
			explicit_bzero(password, strlen(password));
			pfree(password);
		}
	}
	PG_END_TRY();
	return status;
}
