//! The site, as an admin sees and changes it: who belongs to it, who leaves, who joins.

use crate::client::admin::{Admin, Refusal};
use crate::client::error::ClientError;
use crate::ids::Uuid;
use crate::wire::ApiKey;
use crate::wire::change_members::{ChangeMembersRequest, ChangeMembersResponse, SiteChange};
use crate::wire::describe_members::{
    DescribeMembersRequest, DescribeMembersResponse, DescribedNode,
};
use crate::wire::manage_site::{ManageSiteRequest, ManageSiteResponse, SiteRequest};

/// What became of one step of a change of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteStep {
    /// Whether the change is done.
    pub is_done: bool,
    /// What is under way.
    pub message: String,
}

/// What a broker said to an invitation or to a wish to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteAnswer {
    /// The pairing code, of an invitation.
    pub code: String,
    /// Where a board that joins finds the broker; or who let it in.
    pub address: String,
    /// The site's cluster.
    pub cluster_id: Uuid,
}

impl Admin {
    /// Every node of the site, as its active controller knows it.
    pub fn describe_members(&self) -> Result<Vec<DescribedNode>, ClientError> {
        let api = ApiKey::DescribeMembers;
        let timeout = self.request_timeout();
        let frame = self.cluster().call_any(api, &DescribeMembersRequest {}, timeout)?;
        let response: DescribeMembersResponse = frame.body()?;
        if !response.error.is_ok() {
            return Err(ClientError::Broker(response.error));
        }
        Ok(response.nodes)
    }

    /// Takes the next step of a change of members: called again until it is done.
    pub fn change_members(
        &self,
        change: SiteChange,
    ) -> Result<Result<SiteStep, Refusal>, ClientError> {
        let request = ChangeMembersRequest { change };
        let timeout = self.request_timeout();
        let frame = self.cluster().call_any(ApiKey::ChangeMembers, &request, timeout)?;
        let response: ChangeMembersResponse<'_> = frame.body()?;
        let step = SiteStep { is_done: response.is_done, message: response.message.to_owned() };
        Ok(Refusal::check(response.error, response.message).map(|()| step))
    }

    /// Has the broker found a site, invite a board, or join.
    pub fn manage_site(
        &self,
        request: SiteRequest<'_>,
    ) -> Result<Result<SiteAnswer, Refusal>, ClientError> {
        let request = ManageSiteRequest { request };
        let timeout = self.request_timeout();
        let frame = self.cluster().call_any(ApiKey::ManageSite, &request, timeout)?;
        let response: ManageSiteResponse<'_> = frame.body()?;
        let answer = SiteAnswer {
            code: response.text.to_owned(),
            address: response.address.to_owned(),
            cluster_id: response.cluster_id,
        };
        Ok(Refusal::check(response.error, response.text).map(|()| answer))
    }
}
