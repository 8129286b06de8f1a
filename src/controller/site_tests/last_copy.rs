//! Who leads when the last replica in sync comes back damaged: `controller/last_copy.rs`.

use super::*;

/// The first comes back damaged, having heard so much; the third has everything, and leads when it is
/// back.
fn waits_for_the_third(site: &mut Site, heard_end: i64) {
    assert_eq!(site.register_card(1, 2, 1, &[0], heard_end), Ok(()));
    assert_eq!(site.text(), "leader -1 epoch 1 isr  elr 3", "it waits for who had everything");
    site.unfence(1);
    assert_eq!(site.text(), "leader -1 epoch 1 isr  elr 3");
    assert_eq!(site.register(3, 2, &[]), Ok(()));
    site.unfence(3);
    assert_eq!(site.text(), "leader 3 epoch 2 isr 3 elr ");
}

/// Found by tests/sim, with `min.insync.replicas` = 1: the leader's board loses power, another in sync
/// dies and is fenced before the leader is missed. The leader comes back with a damaged copy, as the
/// last one in sync, and led without what it had acknowledged, which the other had.
#[test]
fn r1_a_damaged_last_copy_gives_way_to_who_had_everything() {
    let last_of_three = || {
        let mut site = Site::of_three();
        site.set_min_insync("1");
        let heard_end = site.offset;
        site.fence(2);
        assert_eq!(site.text(), "leader 1 epoch 0 isr 13 elr ");
        site.fence(3);
        assert_eq!(site.text(), "leader 1 epoch 0 isr 1 elr ", "1 is not missed yet");
        (site, heard_end)
    };
    // It knew of the first that was put out, and may have acknowledged without that one.
    let (mut site, heard_end) = last_of_three();
    waits_for_the_third(&mut site, heard_end + 1);
    // The other is back before it, and leads at once.
    let (mut site, heard_end) = last_of_three();
    assert_eq!(site.register(3, 2, &[]), Ok(()));
    site.unfence(3);
    assert_eq!(site.register_card(1, 2, 1, &[0], heard_end), Ok(()));
    assert_eq!(site.text(), "leader 3 epoch 2 isr 3 elr ");
}

/// The same, where the last one was fenced, too, before it came back: nobody is in sync, and to wait for
/// the other changes only who is eligible. Found by tests/sim.
#[test]
fn r1_a_damaged_last_copy_that_was_fenced_gives_way_to_who_had_everything() {
    let mut site = Site::of_three();
    site.set_min_insync("1");
    let heard_end = site.offset;
    site.fence(2);
    site.fence(3);
    site.fence(1);
    assert_eq!(site.text(), "leader -1 epoch 1 isr  elr 1");
    waits_for_the_third(&mut site, heard_end + 1);
}

/// The same, where the one that is fenced had registered and was not active yet: the batch did not say
/// that it was put out. Found by tests/sim.
#[test]
fn r1_a_damaged_last_copy_gives_way_to_who_had_registered_and_was_silent() {
    let mut site = Site::of_three();
    site.set_min_insync("1");
    let heard_end = site.offset;
    site.fence(2);
    assert_eq!(site.register(3, 2, &[]), Ok(()));
    assert_eq!(site.text(), "leader 1 epoch 0 isr 13 elr ");
    site.fence(3);
    assert_eq!(site.text(), "leader 1 epoch 0 isr 1 elr ");
    assert_eq!(site.register_card(1, 2, 1, &[0], heard_end), Ok(()));
    assert_eq!(site.text(), "leader -1 epoch 1 isr  elr 3", "it waits for who had everything");
}

#[test]
fn r8_a_damaged_last_copy_leads_where_nobody_is_known_to_have_more() {
    let leads = |site: &mut Site, heard_end: i64| {
        assert_eq!(site.register_card(1, 2, 1, &[0], heard_end), Ok(()));
        site.unfence(1);
        site.text()
    };
    let alone = || {
        let mut site = Site::of_three();
        site.set_min_insync("1");
        site.fence(2);
        site
    };
    // It heard that it was the last: it may have acknowledged since.
    let mut site = alone();
    site.fence(3);
    let heard_end = site.offset;
    assert_eq!(leads(&mut site, heard_end), "leader 1 epoch 2 isr 1 elr ");
    // Nobody knows what it heard.
    let mut site = alone();
    site.fence(3);
    assert_eq!(leads(&mut site, -1), "leader 1 epoch 2 isr 1 elr ");
    // It asked for it, and heard of it by the answer.
    let mut site = alone();
    let heard_end = site.offset;
    let request = site.request(1, &[1]);
    assert_eq!(site.alter(&request), ErrorCode::NONE);
    assert_eq!(leads(&mut site, heard_end), "leader 1 epoch 2 isr 1 elr ");
    // The other has lost its copy, too.
    let mut site = alone();
    let heard_end = site.offset;
    site.fence(3);
    assert_eq!(site.register(3, 2, &[0]), Ok(()));
    assert_eq!(leads(&mut site, heard_end), "leader 1 epoch 2 isr 1 elr ");
}
