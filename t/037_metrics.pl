# Monitoring: flo.metrics() is what Prometheus reads, and agrees with flo.status; what
# contrib/monitoring has works with it, down to a Prometheus that scrapes a group;
# flo.overview fits its line and flo.healthy() answers what it says; a role that is a
# member of pg_monitor sees all of it, and nobody else.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use HTTP::Tiny;
use IPC::Cmd qw(can_run);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $contrib = "$FindBin::Bin/../contrib/monitoring";
my $tmp = PostgreSQL::Test::Utils::tempdir();
my @running;

my @programs = qw(promtool prometheus prometheus-postgres-exporter prometheus-sql-exporter);
my @missing = grep { !can_run($_) } @programs;
plan skip_all => "not on this machine: @missing" if @missing && !$ENV{CI};
is("@missing", '', 'all programs are here') or BAIL_OUT('CI is to have got them: .ci/monitoring.sh');

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

# What a role gets in a session of its own: output, or SQLSTATE
sub as
{
	my ($role, $node, $sql, $db) = @_;
	my ($out, $err) = ('', '');

	$node->psql($db || 'postgres', "\\set VERBOSITY sqlstate\nSET ROLE $role;\n$sql;",
		stdout => \$out, stderr => \$err);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out;
}

# The output of a program, and its exit code
sub run
{
	my ($in, @command) = @_;
	my $out = '';

	my $ok = IPC::Run::run(\@command, '<', \$in, '>', \$out, '2>&1', IPC::Run::timeout(60));
	return ($ok, $out);
}

# A program that stays until the test ends
sub spawn
{
	my ($name, %param) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/037_$name.log";

	local %ENV = (%ENV, %{ $param{env} || {} });
	push @running, IPC::Run::start($param{command}, '<', \undef, '>', $log, '2>&1');
}

END { local $?; $_->kill_kill(grace => 5) for @running; }

sub fetch_page
{
	my $answer = HTTP::Tiny->new(timeout => 10)->get($_[0]);
	return $answer->{success} ? $answer->{content} : '';
}

# Samples by name and labels, types by family
sub parse
{
	my ($text) = @_;
	my (%sample, %type);

	for (split /\n/, $text)
	{
		if (/^# TYPE (\S+) (\S+)/) { $type{$1} = $2; }
		elsif (/^(pg_flo_[^\s{]+)\{(.*)\} (\S+)$/)
		{
			my ($name, $labels, $value) = ($1, $2, $3);
			my %label = $labels =~ /(\w+)="((?:[^"\\]|\\.)*)"/g;
			my @own = grep { defined $label{$_} } qw(database group member state operation version le);
			$sample{ join(' ', $name, map { "$_=$label{$_}" } @own) } = $value;
		}
	}
	return (\%sample, \%type);
}

sub metrics { return as('flo_monitor', $_[0], 'SELECT flo.metrics()', $_[1]); }

$_->safe_psql('postgres', 'CREATE ROLE flo_monitor LOGIN IN ROLE pg_monitor; CREATE ROLE flo_nobody LOGIN;
	CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;

# --- nothing is replicated yet -----------------------------------------------------------------

is(as('flo_monitor', $source, 'SELECT flo.healthy()'), 'f', 'a database without groups is not healthy');
is(as('flo_monitor', $source, "SELECT flo.healthy('g')"), '42704', 'an unknown group');
like(metrics($source), qr/^pg_flo_launcher_up\{database="postgres"\} 1$/m, 'metrics of a database without groups');
my ($ok, $out) = run(metrics($source), qw(promtool check metrics));
ok($ok && $out eq '', 'promtool finds nothing to complain of') or diag($out);

create_group($source, $dest, 'g');
src("INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100) g");
src("INSERT INTO t SELECT g, 'v' FROM generate_series(101, 103) g; UPDATE t SET v = 'w' WHERE id <= 7;
	DELETE FROM t WHERE id = 8");
wait_caught_up($source, $dest, 'g');

# --- metrics -----------------------------------------------------------------------------------

for my $side ([ $source, 'replicator' ], [ $dest, 'postgres' ])
{
	my ($node, $member) = @$side;

	# what is counted is handed in a moment after the position
	wait_until($node, 'postgres', "SELECT transactions = 4 AND (SELECT commit_to_durable_seconds_count = 4
		FROM flo.histograms()) FROM flo.status", "$member has counted all");
	my $text = metrics($node);
	my ($sample, $type) = parse($text);
	my $of = "database=postgres group=g member=$member";

	($ok, $out) = run($text, qw(promtool check metrics));
	ok($ok && $out eq '', "$member: promtool finds nothing to complain of") or diag($out);
	is($sample->{"pg_flo_rows_total $of operation=$_->[0]"}, $_->[1], "$member: $_->[0] counted")
	  for [ insert => 103 ], [ update => 7 ], [ delete => 1 ];
	is($sample->{"pg_flo_transactions_total $of"}, 4, "$member: transactions");
	is($sample->{"pg_flo_state $of state=streaming"}, 1, "$member: its state");
	is($sample->{"pg_flo_state $of state=failed"}, 0, "$member: not its state");
	cmp_ok($sample->{"pg_flo_lag_seconds $of"}, '<', 60, "$member: lag");
	is($sample->{"pg_flo_batch_changes_sum $of"}, 111, "$member: every change is in a batch");
	is($sample->{"pg_flo_commit_to_durable_seconds_count $of"}, 4, "$member: every transaction became durable");
	is($sample->{"pg_flo_commit_to_durable_seconds_bucket $of le=+Inf"}, 4, "$member: within some time");
	cmp_ok($sample->{"pg_flo_commit_to_durable_seconds_sum $of"}, '>', 0, "$member: not within none");
	is($sample->{"pg_flo_commit_to_durable_seconds_bucket $of le=60"}, 4, "$member: within a minute");
	my @below = map { $sample->{"pg_flo_batch_changes_bucket $of le=$_"} } 1, 2, 5, 10, 50, 100, 200, 100000, '+Inf';
	is("@below", join(' ', sort { $a <=> $b } @below), "$member: buckets hold what is below them");
	unlike($text, qr/last_error|hint/, "$member: no error texts");
}

# --- what was undone does not count --------------------------------------------------------------

dst(q{INSERT INTO t VALUES (200, 'mine'); CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql
	AS $$BEGIN IF NEW.v = 'poison' THEN RAISE EXCEPTION 'no' USING HINT = 'Take it away.'; END IF; RETURN NEW; END$$;
	CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no(); ALTER TABLE t ENABLE ALWAYS TRIGGER no});
src(q{INSERT INTO t VALUES (300, 'poison')});
ok(wait_until($dest, 'postgres', 'SELECT restarts >= 2 FROM flo.status', 'it'), 'the worker fails again and again');
is((parse(metrics($dest)))[0]->{'pg_flo_failing database=postgres group=g member=postgres'}, 1, 'it is failing');
is(dst("SELECT flo.healthy('g', '1 day')"), 'f', 'and not healthy, however late it may be');
wait_state($dest, 'g', 'postgres', 'backoff');
like(dst('SELECT hint FROM flo.overview'), qr/Take it away|no \(|poison|last_error/, 'flo.overview says why');
dst('DROP TRIGGER no ON t');
wait_caught_up($source, $dest, 'g');
wait_until($dest, 'postgres', 'SELECT transactions = 5 FROM flo.status', 'the transaction counts once');
is(dst('SELECT batch_changes_sum, commit_to_durable_seconds_count FROM flo.histograms()'), '112|5',
	'in the histograms, too');
ok(wait_until($dest, 'postgres', "SELECT flo.healthy('g')", 'it'), 'healthy again');
is((parse(metrics($dest)))[0]->{'pg_flo_failing database=postgres group=g member=postgres'}, 0, 'no longer failing');
dst("SELECT flo.reset_stats('g')");
is(dst('SELECT batch_changes_count, commit_to_durable_seconds_sum FROM flo.histograms()'), '0|0',
	'reset_stats() empties them');

# --- names that mean something to Prometheus or to SQL -------------------------------------------

my $hostile = qq{a"b\\c {x="y"}\nd'};
src('CREATE DATABASE ' . ($hostile =~ s/"/""/gr =~ s/^(.*)$/"$1"/sr));
$source->safe_psql($hostile, 'CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY)');
create_group($source, undef, 'odd', source_db => $hostile);
my $text = metrics($source, $hostile);
($ok, $out) = run($text, qw(promtool check metrics));
ok($ok && $out eq '', 'promtool reads hostile names') or diag($out);
my $escaped = $hostile =~ s/\\/\\\\/gr =~ s/"/\\"/gr =~ s/\n/\\n/gr;
like($text, qr/^pg_flo_state\{database="\Q$escaped\E",group="odd",member="replicator",state="streaming"\} 1$/m,
	'they are escaped');

# --- flo.overview --------------------------------------------------------------------------------

# As psql prints it; a look, another, and one after the counters began anew
my $long = 'a' . ('b' x 39);
my $directory = $dest->basedir . '/events';
mkdir $directory, 0700;
dst("SELECT flo.create_worker('g', 'file', worker_name => '$long', options => '{\"directory\": \"$directory\"}')");
rmdir $directory;
dst("SELECT flo.start_group('g', '$long')");
wait_until($dest, 'postgres', "SELECT last_error IS NOT NULL FROM flo.status WHERE member = '$long'", 'an error');
my $session = FloTest::Session->new($dest);
my $rate = q{SELECT coalesce("rows/s", 'none') FROM flo.overview WHERE member = 'postgres'};
is($session->query($rate), 'none', 'no rate at the first look');
src("INSERT INTO t SELECT g, 'v' FROM generate_series(1001, 1500) g");
wait_until($dest, 'postgres', q{SELECT inserts = 500 FROM flo.status WHERE member = 'postgres'}, 'counted');
like($session->query($rate), qr/^\d+(\.\d)?( k)?$/, 'rows a second since the first');
isnt($session->query($rate), 'none', 'also when nothing came');
$session->query("SELECT flo.reset_stats('g')");
is($session->query($rate), 'none', 'no negative rate when the counters begin anew');
src("INSERT INTO t SELECT g, 'v' FROM generate_series(2001, 2600) g");
wait_until($dest, 'postgres', q{SELECT inserts = 600 FROM flo.status WHERE member = 'postgres'}, 'counted');
$session->query("SELECT flo.reset_stats('g')");
is($session->query($rate), 'none', 'nor when they have passed what was seen since');

for my $how ([ aligned => [] ], [ unaligned => ['-A'] ])
{
	my ($name, $flags) = @$how;
	my $printed = '';

	IPC::Run::run([ 'psql', '-X', @$flags, '-P', 'pager=off', '-h', $dest->host, '-p', $dest->port,
			'-c', 'TABLE flo.overview', 'postgres' ], '>', \$printed);
	utf8::decode($printed);
	my @wide = grep { length > 100 } split /\n/, $printed;
	is(join("\n", @wide), '', "$name: no line is longer than 100 characters") or diag($printed);
	like($printed, qr/\x{2026}/, "$name: what does not fit is cut");
	like($printed, qr/backoff|starting|failed/, "$name: a member that does not work");
}
my $wide = q{repeat('表', 60)};
is(dst("SELECT flo.one_line($wide, 20)"), '表' x 9 . '…', 'wide characters count twice');
is(dst(q{SELECT flo.one_line(E'a\tb\nc', 5)}), 'a b c', 'one line, whatever it holds');
is(dst(q{SET client_encoding = latin1; SELECT flo.one_line('abcdefgh', 6)}), 'abc...', 'a client without it');
is(dst(q{SELECT string_agg(flo.short_interval(i::interval), ', ' ORDER BY n)
	FROM unnest('{0,1 ms,999.6 ms,1234 ms,9.97 s,99.9 s,100 s,99 min,100 min,99 hours,101 hours,9999 days}'::text[])
		WITH ORDINALITY i (i, n)}),
	'0 s, 1 ms, 1.0 s, 1.2 s, 9 s, 99 s, 1 min, 99 min, 1 h, 99 h, 4 d, 9999 d', 'times in six characters');
is(dst(q{SELECT string_agg(flo.short_rate(r), ', ' ORDER BY r)
	FROM unnest('{0,0.04,9.94,9.96,99999,100000,999499,999500,12345678}'::float8[]) r}),
	'0, 0.0, 9.9, 10, 99999, 100 k, 999 k, 1.0 M, 12.3 M', 'rates in six characters');
dst("SELECT flo.drop_worker('g', '$long')");

# --- flo.healthy() -------------------------------------------------------------------------------

ok(wait_until($dest, 'postgres', "SELECT flo.healthy('g', '1 s')", 'it'), 'healthy by a second');
is(error_of($dest, "SELECT flo.healthy('g', NULL)") =~ /argument "max_lag" must not be null/, 1, 'max_lag NULL');
is(error_of($dest, "SELECT flo.healthy('g', '-1 s')") =~ /max_lag must not be negative/, 1, 'max_lag negative');
is(dst("SELECT flo.healthy('g') AND flo.healthy() AND flo.healthy(NULL, '1 min')"), 't', 'one group, all groups');
dst("SELECT flo.stop_group('g')");
wait_state($dest, 'g', 'postgres', 'stopped');
is(dst("SELECT flo.healthy('g')"), 'f', 'a group that is stopped is not healthy');
is(dst('SELECT flo.healthy()'), 'f', 'nor is a database with such a group');
start_member($dest, 'g', 'postgres');
ok(wait_until($dest, 'postgres', "SELECT flo.healthy('g')", 'it'), 'started again');

# a lock holds it up while the source commits
my $lock = FloTest::Session->new($dest);
$lock->query('BEGIN; LOCK t');
src("INSERT INTO t VALUES (3000, 'late')");
ok(wait_until($dest, 'postgres', "SELECT NOT flo.healthy('g', '200 ms') AND flo.healthy('g', '10 min')", 'both'),
	'late for one who is in a hurry, and not for another');
$lock->query('ROLLBACK');
wait_caught_up($source, $dest, 'g');

# the broker away: nothing is late, and yet it does not work
$nats->stop;
wait_state($source, 'g', 'replicator', 'waiting');
ok(wait_until($source, 'postgres', "SELECT NOT flo.healthy('g', '500 ms') AND flo.healthy('g', '10 min')",
		'another answer'), 'the broker away: waiting for longer than may be, or not yet');
$nats->start;
wait_state($source, 'g', 'replicator', 'streaming');
wait_state($dest, 'g', 'postgres', 'streaming');

# what waits for a person
dst(q{INSERT INTO flo.pending_ddl (group_name, worker_name, lsn, committed_at, tag, command, reason, ordinal)
	VALUES ('g', 'postgres', '0/1', now(), 'ALTER TABLE', 'ALTER TABLE secret', 'r', 1)});
is(as('flo_monitor', $dest, "SELECT flo.healthy('g')"), 'f', 'a held statement waits for a person');
like(as('flo_nobody', $dest, 'SELECT state, hint FROM flo.overview'), qr/^\w+ !\|1 held in flo.pending_ddl$/,
	'it is marked, and told to anybody');
like(metrics($dest), qr/^pg_flo_held_statements\{.*\} 1$/m, 'it is counted');
unlike(metrics($dest) . as('flo_monitor', $dest, 'TABLE flo.overview'), qr/secret/, 'and not shown');
dst('DELETE FROM flo.pending_ddl');
dst(q{INSERT INTO flo.dead_letters (group_name, worker_name, url, event_id, event)
	VALUES ('g', 'postgres', 'http://x', '1', '{"secret": 1}')});
is(as('flo_monitor', $dest, "SELECT flo.healthy('g')"), 'f', 'so does a dead letter');
like(as('flo_monitor', $dest, 'SELECT state, hint FROM flo.overview'), qr/^\w+ !\|1 in flo.dead_letters$/,
	'it is marked');
dst('DELETE FROM flo.dead_letters');
is(dst("SELECT flo.healthy('g')"), 't', 'nothing waits any more');

# a worker whose first copy is not in: somebody holds its table
for my $node ($source, $dest)
{
	$node->safe_psql('postgres', 'CREATE DATABASE copied');
	$node->safe_psql('copied', 'CREATE EXTENSION pg_flo; CREATE TABLE c (id int PRIMARY KEY)');
}
$source->safe_psql('copied', 'INSERT INTO c VALUES (1)');
my $holder = FloTest::Session->new($dest, 'copied');
$holder->query('BEGIN; LOCK c');
create_copy_group($source, $dest, 'copied', source_db => 'copied', dest_db => 'copied', wait => 0);
wait_state($dest, 'copied', 'postgres', 'copying', 'copied');
is($dest->safe_psql('copied', "SELECT flo.healthy('copied', '1 day')"), 'f',
	'a worker whose first copy is not in is not healthy');
$holder->query('ROLLBACK');
ok(wait_until($dest, 'copied', "SELECT flo.healthy('copied', '1 day')", 'it'), 'once it is in, it is');

# --- who may --------------------------------------------------------------------------------------

my %call = (
	'flo.metrics()' => 'SELECT length(flo.metrics()) > 1000',
	'flo.healthy()' => 'SELECT flo.healthy() IS NOT NULL',
	'flo.histograms()' => 'SELECT count(*) > 0 FROM flo.histograms()',
	'flo.check()' => "SELECT count(*) > 5 FROM flo.check('g')",
	'flo.stream_status()' => "SELECT count(*) > 0 FROM flo.stream_status('g')");
my %view = map { ("flo.$_" => "SELECT count(*) >= 0 FROM flo.$_") } qw(status overview events tables copy_progress);
for my $node ($source, $dest)
{
	my $where = $node->name;
	is(as('flo_monitor', $node, $call{$_}), 't', "$where: pg_monitor may call $_") for sort keys %call;
	is(as('flo_monitor', $node, $view{$_}), 't', "$where: pg_monitor reads $_") for sort keys %view;
	is(as('flo_nobody', $node, $call{$_}), '42501', "$where: nobody else calls $_") for sort keys %call;
	is(as('flo_nobody', $node, $view{$_}), 't', "$where: anybody reads $_") for sort keys %view;
	is(as('flo_monitor', $node, $_->[1]), '42501', "$where: pg_monitor does not $_->[0]")
	  for [ 'start' => "SELECT flo.start_group('g')" ], [ 'peek' => "SELECT * FROM flo.peek('g')" ],
	  [ 'see secrets' => 'TABLE flo.secrets' ], [ 'write rules' => "DELETE FROM flo.rules" ];
}
is(as('flo_monitor', $dest, 'SELECT last_error IS NOT NULL FROM flo.status'), 't', 'pg_monitor sees errors');
is(as('flo_nobody', $dest, 'SELECT last_error IS NULL FROM flo.status'), 't', 'nobody else does');

# --- contrib/monitoring ---------------------------------------------------------------------------

chdir $contrib or die "$contrib: $!";
($ok, $out) = run('', qw(promtool check rules alerts.yml));
ok($ok, 'the alert rules are rules') or diag($out);
($ok, $out) = run('', qw(promtool test rules alerts_test.yml));
ok($ok, 'each alert comes when it should') or diag($out);
($ok, $out) = run('', qw(promtool check config prometheus.yml));
ok($ok, 'the configuration is one') or diag($out);

my $rules = slurp_file('alerts.yml');
my $tests = slurp_file('alerts_test.yml');
my @alerts = $rules =~ /- alert: (\w+)/g;
is(join(' ', grep { $tests !~ /alertname: $_\n\s+exp_alerts:/ } @alerts), '', 'each has a test');
my @links = $rules =~ /^\s+runbook_url: (\S+)/mg;
is(scalar(@links), scalar(@alerts), 'each has a runbook');
my @broken;
for my $link (@links)
{
	my ($page, $anchor) = $link =~ m{^(doc/[\w/]+\.md)#(\S+)$} or push(@broken, $link), next;
	my @headings = slurp_file("$FindBin::Bin/../$page") =~ /^#+ (.*)$/mg;
	my @anchors = map { my $h = lc; $h =~ s/[^\w\s-]//g; $h =~ s/\s/-/gr } @headings;
	push @broken, $link if !grep { $_ eq $anchor } @anchors;
}
is("@broken", '', 'where they lead is a section');

my $names = join("\n", keys %{ (parse(metrics($source) . metrics($dest)))[0] });
my $dashboard = JSON::PP->new->decode(slurp_file('dashboard.json'));
my @expressions = map { $_->{expr} } map { @{ $_->{targets} } } @{ $dashboard->{panels} };
cmp_ok(scalar(@expressions), '>', 20, 'the dashboard shows much');
# a group that copies has these; the others are there now
my %copies = map { $_ => 1 } qw(pg_flo_copy_tables pg_flo_copy_finished_tables pg_flo_copy_size_bytes
	pg_flo_copy_processed_bytes pg_flo_copy_processed_rows);
my %asked = map { $_ => 1 } map { /\b(pg_flo_\w+)/g } @expressions, $rules =~ /expr: (.*)/g;
is(join(' ', grep { !$copies{$_} && $names !~ /^$_ /m } sort keys %asked), '',
	'all that dashboard and alerts ask for is there');

# --- scraped ----------------------------------------------------------------------------------------

# a copy, so that all families have samples
$_->safe_psql('postgres', 'CREATE TABLE c (id int PRIMARY KEY)') for $source, $dest;
src('INSERT INTO c SELECT generate_series(1, 10)');
wait_caught_up($source, $dest, 'g');
src("SELECT flo.resync('g', 'c')");
wait_until($dest, 'postgres', q{SELECT phase = 'complete' FROM flo.copy_progress}, 'the copy is in');
wait_until($source, 'postgres', q{SELECT phase = 'published' FROM flo.copy_progress}, 'it is over');

my ($postgres_port, $sql_port, $prometheus_port) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 3;
my $conninfo = 'host=' . $source->host . ' port=' . $source->port . ' user=flo_monitor dbname=postgres sslmode=disable';
spawn('postgres_exporter',
	command => [ 'prometheus-postgres-exporter', '--disable-default-metrics', '--disable-settings-metrics',
		'--extend.query-path=queries.yaml', "--web.listen-address=127.0.0.1:$postgres_port" ],
	env => { DATA_SOURCE_NAME => $conninfo });
my $url = 'postgres://flo_monitor@/postgres?sslmode=disable&host=' . $source->host . '&port=' . $source->port;
my $config = slurp_file('sql_exporter.yml');
$config =~ s{'postgres://.*'}{'$url'};
$config =~ s/interval: 15s/interval: 1s/;
append_to_file("$tmp/sql_exporter.yml", $config);
spawn('sql_exporter',
	command => [ 'prometheus-sql-exporter', '-config.file', "$tmp/sql_exporter.yml",
		'-web.listen-address', "127.0.0.1:$sql_port" ]);
$config = slurp_file('prometheus.yml');
$config =~ s/:9187/:$postgres_port/;
$config =~ s/:9237/:$sql_port/;
$config =~ s/_interval: 15s/_interval: 1s/g;
$config =~ s{- alerts\.yml}{- $contrib/alerts.yml};
append_to_file("$tmp/prometheus.yml", $config);
spawn('prometheus',
	command => [ 'prometheus', "--config.file=$tmp/prometheus.yml", "--storage.tsdb.path=$tmp/tsdb",
		"--web.listen-address=127.0.0.1:$prometheus_port", '--log.level=warn' ]);

# What Prometheus' API answers, a hash
sub api
{
	my ($path, $query) = @_;
	my $url = "http://127.0.0.1:$prometheus_port/api/v1/$path";

	$url .= '?query=' . ($query =~ s/([^\w.])/sprintf('%%%02X', ord $1)/ger) if defined $query;
	return eval { JSON::PP->new->decode(fetch_page($url)) } || {};
}

sub ask { return api('query', $_[0])->{data}{result} || []; }

my ($expected, $types, $scraped, $scraped_types, @samples);

# Those that stand still, as soon as both sides were asked in the same state
my $differ = sub { grep { !/bytes|lag|since|seen|wal/ && ($scraped->{$_} // 'none') ne $expected->{$_} } @samples };
await(sub {
		($expected, $types) = parse(metrics($source));
		($scraped, $scraped_types) = parse(fetch_page("http://127.0.0.1:$postgres_port/metrics"));
		@samples = sort keys %$expected;
		!$differ->();
	}, 'the exporter');
my @families = sort keys %$types;
is(join("\n", grep { !defined $scraped->{$_} } @samples), '', 'postgres_exporter has every sample of flo.metrics()');
is(join("\n", grep { !defined $expected->{$_} && $scraped->{$_} ne 'NaN' } sort keys %$scraped), '', 'and no other');
is(join("\n", grep { ($scraped_types->{$_} || '') ne $types->{$_} } @families), '', 'of the same types');
is(join("\n", $differ->()), '', 'with the same values');

my %wanted = map { s/ .*//r => 1 } @samples;
for my $job (qw(postgres pg_flo))
{
	my (%there, $missing);
	await(sub {
			%there = map { $_->{metric}{__name__} => $_ } @{ ask(qq[{__name__=~"pg_flo_.*",group="g",job="$job"}]) };
			$there{$_->{metric}{__name__}} = $_ for @{ ask(qq[{__name__=~"pg_flo_(build|launcher).*",job="$job"}]) };
			$missing = join(' ', grep { !$there{$_} } sort keys %wanted);
			$missing eq '';
		}, "all names of job $job");
	is($missing, '', "Prometheus has scraped job $job: every name is there");
	is($there{pg_flo_lag_seconds}{metric}{member}, 'replicator', "$job: the lag of the replicator");
	is($there{pg_flo_lag_seconds}{metric}{database}, 'postgres', "$job: in its database");
}
is(ask('count(pg_flo_state == 1) by (job)')->[0]{value}[1], 1, 'one state');
my @bad = grep { (api('query', s/\$__rate_interval/1m/gr =~ s/\$\w+/.*/gr)->{status} || '') ne 'success' } @expressions;
is(join("\n", @bad), '', 'Prometheus understands what the dashboard asks');
my @loaded = map { @{ $_->{rules} } } @{ api('rules')->{data}{groups} || [] };
is(scalar(@loaded), scalar(@alerts), 'and has loaded the alerts');

chdir '/';
$_->stop('fast') for $source, $dest;
done_testing();
