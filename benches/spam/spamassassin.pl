#!/usr/bin/perl
# Scores of SpamAssassin for a folder of mail: one process for all messages, no network, nothing learnt by itself.
#
#   spamassassin.pl STATE-FOLDER SCORES.TSV TEST-FOLDER [TRAIN-FOLDER]
#
# Both folders have the folders `spam` and `ham`. With a folder to train on, its Bayes filter learns all of that first, and
# forgets none of it. Each score is written as it is found (kind, name, score): a run that was stopped goes on where it was.
# The processor time of the scan is added to SCORES.TSV.cpu, with the number of messages.
use strict;
use warnings;
use Mail::SpamAssassin;

my ($state, $scores, $test, $train) = @ARGV;
die "usage: spamassassin.pl STATE-FOLDER SCORES.TSV TEST-FOLDER [TRAIN-FOLDER]\n" unless defined $test;
-d $state or mkdir $state or die "$state: $!";

my $bayes = $train ? 1 : 0;
my $spamtest = Mail::SpamAssassin->new({
    local_tests_only => 1,
    dont_copy_prefs => 1,
    userprefs_filename => "$state/none",
    userstate_dir => $state,
    post_config_text => "use_bayes $bayes\nbayes_auto_learn 0\nbayes_auto_expire 0\nbayes_path $state/bayes\nlock_method flock\n",
});
$spamtest->compile_now(0);

sub files {
    my ($folder) = @_;
    opendir(my $dir, $folder) or die "$folder: $!";
    return map { "$folder/$_" } sort grep { !/^\./ } readdir $dir;
}

sub parsed {
    my ($path) = @_;
    open(my $file, '<:raw', $path) or die "$path: $!";
    my @lines = <$file>;
    return $spamtest->parse(\@lines, 0);
}

sub learn {
    # Once: a mark says that all of it was learnt.
    return if -e "$state/learnt";
    $spamtest->init_learner({ caller_will_untie => 1, wait_for_lock => 1 });
    for my $kind ('spam', 'ham') {
        for my $path (files("$train/$kind")) {
            my $mail = parsed($path);
            $spamtest->learn($mail, undef, $kind eq 'spam' ? 1 : 0, 0)->finish();
            $mail->finish();
        }
    }
    $spamtest->rebuild_learner_caches({ verbose => 0 });
    $spamtest->finish_learner();
    open(my $mark, '>', "$state/learnt") or die "$state/learnt: $!";
    close($mark);
}

learn() if $train;

my %known;
if (open(my $old, '<', $scores)) {
    while (<$old>) {
        # A line that was cut in the writing is made again.
        $known{"$1/$2"} = 1 if /^(\w+)\t(\S+)\t-?[\d.]+\n/;
    }
}
open(my $out, '>>', $scores) or die "$scores: $!";
$out->autoflush(1);
my ($before, $count) = ((times)[0] + (times)[1], 0);
for my $kind ('ham', 'spam') {
    for my $path (files("$test/$kind")) {
        my ($name) = $path =~ m{([^/]+)$};
        next if $known{"$kind/$name"};
        my $mail = parsed($path);
        my $status = $spamtest->check($mail);
        printf {$out} "%s\t%s\t%.3f\n", $kind, $name, $status->get_score();
        $status->finish();
        $mail->finish();
        $count++;
    }
}
open(my $cpu, '>>', "$scores.cpu") or die "$scores.cpu: $!";
printf {$cpu} "%d\t%.2f\n", $count, (times)[0] + (times)[1] - $before if $count;
